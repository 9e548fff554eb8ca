"""Data sets: whole splits in memory, their sources, and the loops' view of them.

``splits`` says what a data set is, ``sources`` where it comes from, ``transforms`` what is done to
whole batches, and ``images`` (the one file here that knows Lightning) feeds a Trainer.
"""

from adapterlab import torchvision_compat  # noqa: F401  (before anything that meets torchvision)
from adapterlab.data.splits import ImageSplit, ImageSplits, hold_out, limited

__all__ = ["ImageSplit", "ImageSplits", "hold_out", "limited"]
