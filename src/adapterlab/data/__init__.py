"""Data sets: whole splits in memory, their sources, and the loops' view of them.

``splits`` says what a data set is, ``sources`` where it comes from, ``transforms`` what is done to
whole batches, ``tokenizer`` and ``tokens`` what becomes of texts, and ``batches``, ``images`` and
``text`` (the files here that know Lightning) feed a Trainer. ``stored`` keeps on disk what is slow
to make.
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
