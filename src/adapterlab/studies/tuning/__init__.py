"""Comparisons of arms that are tuned alike (``hydra/sweeper=tuned``)."""
