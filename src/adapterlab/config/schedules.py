"""Schedules of the learning rate: what share of its peak is left, after the warm-up."""

import math
from collections.abc import Callable

PLATEAU = "plateau"
"""The schedule that follows the validation loss rather than the steps."""

SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    PLATEAU: lambda progress: 1.0,
}
"""From the progress of the fall, from 0 to 1, to a share of the peak rate, from 0 to 1."""

THAT_FALL = tuple(name for name, shape in SHAPES.items() if shape(1.0) < 1)
"""Schedules that fall with the steps."""


def known(name: str) -> str:
    """Return the name of a schedule.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in SHAPES:
        *names, last = (f"'{one}'" for one in SHAPES)
        raise ValueError(f"Input should be {', '.join(names)} or {last}")
    return name
