"""What a number is worth: metrics and their uncertainty, as pure functions over arrays."""
