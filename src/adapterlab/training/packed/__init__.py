"""Training the lanes of a pack, all in one loop."""
