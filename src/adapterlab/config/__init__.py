"""What a run is, without torch: its schema, and what is checked before anything is loaded."""
