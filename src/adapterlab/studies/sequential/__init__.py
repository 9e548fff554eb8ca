"""Studies that add seeds until they are certain (``hydra/sweeper=sequential``)."""
