"""What carries out the packs of a study: one interface, for this machine and for others."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from adapterlab.config.schema import Config

if TYPE_CHECKING:
    from adapterlab.runs.packs.lanes import Outcome  # loads Lightning
    from adapterlab.studies.tasks.records import Record

POLL_SECONDS = 0.25
"""Between two words on how far a task is."""


@dataclass(frozen=True)
class Task:
    """A pack to be carried out, or a run that stays alone.

    Attributes:
        configs: of its runs.
        packed: False for a run that is trained the ordinary way.
        lanes: that the runs are trained in, where there are fewer at a time than runs; None for all
            of them at once.
        core_is_free: see `adapterlab.runs.packs.pack.run_pack`.
        id: by which its record is known, of a task that is carried out elsewhere; see `records`.
        resume: go on from what an earlier attempt has left, whatever its configurations say.
        prepares: what the runs need is made and kept, see `shared_inputs`; they are not carried
            out.
        after: ids of tasks of a cluster that must have ended before, of a task that nobody waits
            for; engines whose tasks end with their command have none such.
    """

    configs: tuple[Config, ...]
    packed: bool
    core_is_free: bool = False
    lanes: int | None = None
    id: str = ""
    resume: bool = False
    prepares: bool = False
    after: tuple[str, ...] = ()

    @property
    def carried_out(self) -> tuple[Config, ...]:
        """The configurations of runs that end with the task: none of one that prepares."""
        return () if self.prepares else self.configs


class Engine(Protocol):
    """Carries out tasks, some at a time, begun in the order in which they are submitted.

    What it returns are futures of `concurrent.futures`, with their meaning: `running` says whether
    a task has begun, `cancel` takes back one that has not. A result is what came of each run of the
    task, in their order: its `RunResult`, or the exception that it failed with.
    """

    def submit(self, task: Task) -> "Future[list[Outcome]]":
        """Have a task carried out.

        Returns:
            Its future, which fails with a `RunLostError` where what carried it out ended without a
            word; the message says how.
        """

    def send(self) -> None:
        """Hear that no more tasks are submitted for now: what is gathered goes out at once."""

    def name(self, future: "Future[list[Outcome]]") -> str | None:
        """Return what the cluster calls a task: ``17_3``; None where it has no names."""

    def cancel(self, future: "Future[list[Outcome]]") -> None:
        """End a task. Runs that have begun are marked as KILLED, and the future then fails."""

    def where(self, future: "Future[list[Outcome]]") -> str | None:
        """Say where a task is or was carried out, in words; None if it has not begun."""

    def moved(self, future: "Future[list[Outcome]]") -> float:
        """Return how many runs' worth of training a task has done since this was asked last.

        As far as that is known: a sum over all calls may stay below the number of its runs.
        """

    def close(self) -> None:
        """End all that it has started; tasks that have not ended are lost."""


@runtime_checkable
class Lasting(Protocol):
    """An engine whose tasks do not end with the command that has submitted them."""

    def adopt(self, task: Task, record: "Record") -> "Future[list[Outcome]] | None":
        """Take up a task that another command has submitted.

        Args:
            task: as it would be submitted again.
            record: what that command has written down of it.

        Returns:
            Its future; None if it has ended and left no result.

        Raises:
            AdapterLabError: the cluster does not answer.
        """
