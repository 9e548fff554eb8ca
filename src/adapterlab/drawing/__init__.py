"""What pictures of runs and of reports share: a style, a canvas, and the pictures of one run."""
