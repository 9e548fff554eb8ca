"""What a run leaves: figures, files, mistakes, and the floor beside them."""
