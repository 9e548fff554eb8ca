"""Files of other programs that hold adapters, written and read."""
