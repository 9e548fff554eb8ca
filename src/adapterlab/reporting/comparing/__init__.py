"""From runs to findings: which arms are compared, on what, and how."""
