"""Several runs as the lanes of one pack."""
