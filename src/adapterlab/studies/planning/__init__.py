"""Before anything is trained: which runs share a pack, and what a study could find."""
