"""One run's life: data, base, checks, training, files; alone or as a lane of a pack."""
