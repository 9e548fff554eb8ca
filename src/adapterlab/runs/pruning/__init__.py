"""Cutting ranks out of a finished run's adapter."""
