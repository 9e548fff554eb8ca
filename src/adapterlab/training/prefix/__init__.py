"""The frozen first layers of a model: computed once, kept, and trained on."""
