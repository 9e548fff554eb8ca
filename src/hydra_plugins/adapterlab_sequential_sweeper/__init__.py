"""Hydra finds its plugins here: the sweeper that adds seeds until a study is certain."""
