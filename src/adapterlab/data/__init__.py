"""Data sets: whole splits in memory, their sources, and the loops' view of them.

``splits`` says what a data set is, ``sources`` where it comes from, ``transforms`` what is done to
whole batches, ``tokenizer`` and ``tokens`` what becomes of texts, and ``batches``, ``images`` and
``text`` cut the batches of a training. ``stored`` keeps on disk what is slow to make. Nothing here
knows Lightning, which takes long to load; `training.lightning.data` hands batches to its Trainer.
"""

from adapterlab.data.splits import (
    ImageSplit,
    ImageSplits,
    TextSplit,
    TextSplits,
    hold_out,
    limited,
)

__all__ = ["ImageSplit", "ImageSplits", "TextSplit", "TextSplits", "hold_out", "limited"]
