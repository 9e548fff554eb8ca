"""What finished runs say of new examples: one run, or several as an ensemble."""
