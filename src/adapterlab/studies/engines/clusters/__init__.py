"""What engines of clusters share, and what each says to its cluster."""
