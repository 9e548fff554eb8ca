"""What a run's parameters mean only together with, kept beside them: of numbers, of images.

It is of the data as they were: rows that were added since do not change what a finished run says.
"""

import math
from pathlib import Path
from typing import Any

from adapterlab.adapters import read_extra
from adapterlab.base.errors import CheckpointError
from adapterlab.data.targets import Scale

SCALE = "scale"
"""What the scale is called in which numbers were learnt."""

IMAGES = "images"
"""What the shape is called that images were decoded to."""


def written(scale: Scale) -> list[float]:
    """Return a scale as a file keeps it."""
    return [scale.mean, scale.deviation]


def scale_of(adapter: Path) -> Scale | None:
    """Return the scale in which the parameters of a file say numbers.

    Args:
        adapter: of a run; None is returned where it is of classes, or of before scales were kept.

    Raises:
        CheckpointError: it is no scale.
    """
    said: Any = read_extra(adapter).get(SCALE)
    if said is None:
        return None
    numbers = isinstance(said, list) and all(isinstance(n, int | float) for n in said)
    if not (numbers and len(said) == 2 and all(map(math.isfinite, said)) and said[1] > 0):
        raise CheckpointError(f"{adapter} says {said!r} as the scale of its numbers")
    mean, deviation = map(float, said)
    return Scale(mean, deviation)
