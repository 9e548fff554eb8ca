"""Hydra finds its plugins here: the launcher that trains the jobs of a sweep in packs."""
