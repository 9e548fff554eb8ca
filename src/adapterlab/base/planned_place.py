"""Where runs are planned for: another machine's memory, cores and device in place of this one's.

A study may be planned on a login node, which has little memory and no GPU, and be carried out on
nodes that have more of both. What asks this machine what it has asks `planned_place` first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """What one pack finds where it is carried out.

    Attributes:
        memory_gib: of the device that it computes on: the GPU's where there is one.
        cores: for its threads.
        gpu: it computes on a GPU.
        words: where that is, for people: ``Slurm, partition main``.
        tasks: that are carried out at the same time for certain.
    """

    memory_gib: float
    cores: int
    gpu: bool
    words: str
    tasks: int = 1


_planned: ContextVar[Place | None] = ContextVar("planned", default=None)


def planned_place() -> Place | None:
    """Return where runs are being planned for; None where that is this machine."""
    return _planned.get()


@contextmanager
def planned_for(place: Place | None) -> Iterator[None]:
    """Plan for another place inside the block."""
    token = _planned.set(place)
    try:
        yield
    finally:
        _planned.reset(token)
