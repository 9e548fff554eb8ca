"""Tasks: packs on their way, what is written down of them, and what carries one out."""
