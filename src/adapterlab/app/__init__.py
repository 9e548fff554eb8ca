"""The command line, the console and the notebook: only here a person is met."""
