"""Training by a loop of our own: one run alone on the CPU."""
