"""Hydra finds its plugins here: the sweeper that runs several sweeps as one study."""
