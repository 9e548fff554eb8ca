"""Studies that are under way: how they stand, and how they are ended."""
