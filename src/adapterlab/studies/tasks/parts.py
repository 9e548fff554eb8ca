"""A task that is on its way, or half of one: what a command knows of it."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from adapterlab.base.errors import MemoryLackError, out_of_memory
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.records import Record


@dataclass
class Part:
    """A task that is on its way: one of those asked for, or half of a pack that was too large.

    Attributes:
        number: of the task that was asked for.
        places: of its runs in that.
        failures: how often in a row it has failed as a whole, and come no epoch further.
        kept: what its runs had to go on from when it was submitted last.
        split_from: lanes of the pack that it is a part of, which was too large.
    """

    number: int
    places: tuple[int, ...]
    task: Task
    record: Record
    future: "Future[list[Any]]" = field(default_factory=Future)
    failures: int = 0
    kept: frozenset[tuple[str, int]] = frozenset()
    split_from: int = 0

    @property
    def can_be_split(self) -> bool:
        """Whether it can go again in two where it has run out of memory."""
        return len(self.places) > 1 and not self.task.prepares

    @property
    def words(self) -> str:
        """What is in it, in words."""
        if self.task.prepares:
            return "what several tasks need"
        count = len(self.places)
        return f"{count} runs" if count > 1 else "one run"


def is_lack(outcome: Any) -> bool:
    """Say whether a run has ended because there was too little memory."""
    if isinstance(outcome, MemoryLackError):
        return True
    return isinstance(outcome, BaseException) and out_of_memory(outcome) is not None
