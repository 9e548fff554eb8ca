"""What an engine knows of a task that it has sent: its job, and what the task has said since."""

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.records import There, read_there


@dataclass
class Sent:
    """A task that is submitted, or waits in line.

    Attributes:
        before: attempts at it before it was submitted.
        job: the cluster's; None in line.
        there: what it has said of itself since.
        gone_at: when it was first missed.
        ended_as: its state then, as Slurm calls it.
    """

    task: Task
    future: "Future[list[Any]]"
    before: int
    job: Any = None
    there: There | None = None
    cancelled: bool = False
    gone_at: float | None = None
    ended_as: str = ""
    _told: tuple[int, float] = (0, 0.0)

    @classmethod
    def of(cls, task: Task, folder: Path) -> "Sent":
        """Return a task that is about to be submitted, perhaps not for the first time.

        Args:
            task: with the same id at each attempt.
            folder: of the records of its study's tasks.
        """
        there = read_there(folder, task.id)
        return cls(task, Future(), before=0 if there is None else there.attempts)

    def look(self, folder: Path) -> None:
        """Read what the task has said of itself."""
        there = read_there(folder, self.task.id)
        if there is not None and there.attempts > self.before:
            self.there = there

    def moved(self) -> float:
        """Return how far it has moved on since this was asked last."""
        if (there := self.there) is None:
            return 0.0
        attempt, told = self._told
        self._told = there.attempts, there.moved
        return there.moved - (told if attempt == there.attempts else 0.0)
