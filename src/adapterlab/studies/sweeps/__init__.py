"""What a sweep asks for: its jobs, composed, and the arms that they are of."""
