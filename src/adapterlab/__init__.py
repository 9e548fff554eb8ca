"""AdapterLab: which way of fine-tuning is best here, and is the difference real?

Importing this package loads no torch: the command line composes and checks its
configuration first.
"""

__version__ = "0.1.0"
