"""Training with Lightning's Trainer: one run alone."""
