"""Hydra finds its plugins here: the sweeper that tunes every arm alike, then compares them."""
