"""A task where it is carried out: on a node of a cluster, in a process of its own or a worker's.

What engines send is an `Errand`: it can be pickled, knows nothing of the engine, and calls nothing
but what `execution.outcomes_of` does here as well.
"""

import contextlib
import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterlab.base.errors import AdapterLabError, RunLostError, first_line, went_wrong, with_type
from adapterlab.base.full_disk import FullDiskError
from adapterlab.base.output import set_up_output
from adapterlab.base.process_identity import this_process
from adapterlab.base.redaction import redact_files, redacted
from adapterlab.base.task_signals import stopped_by_signals
from adapterlab.config.conf_folder import register_resolvers
from adapterlab.config.multirun import MULTIRUN_VARIABLE, STUDY_VARIABLE
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.records import There, read_there, write_there
from adapterlab.studies.tasks.resumable_files import resumable_files

if TYPE_CHECKING:
    from adapterlab.studies.sweeps.shared_data import ReadOnce

INHERITED = (MULTIRUN_VARIABLE, STUDY_VARIABLE, "ADAPTERLAB_ROOT", "ADAPTERLAB_DATA_DIR")
"""Variables of the command that its tasks are given, as processes beside it inherit them."""

WRITE_SECONDS = 2.0
"""Between two words on how far a task is, on a disk that many share."""

IDLE_ATTEMPTS = 3
"""In a row that end before one epoch: after them a warning no longer asks for another."""


class TaskStoppedError(RunLostError):
    """A task was told to end, by a signal: its runs are KILLED, and go on from the last epoch."""


@dataclass(frozen=True)
class Stopped:
    """What comes of a task that a signal has ended.

    Attributes:
        why: in a line.
        warned: the signal was a warning that came before the end (SIGUSR2), and another attempt is
            worth it.
    """

    why: str
    warned: bool = False


@dataclass
class Errand:
    """A task that is sent to where it is carried out. Calling it does that.

    Attributes:
        task: what is to be done; absolute paths, of a disk that is there as well.
        folder: of the records.
        environment: variables that it needs; see `INHERITED`.
    """

    task: Task
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self) -> "list[Any] | Stopped":
        """Carry the task out.

        Returns:
            What came of each run: a `RunResult` or an exception, each of which can be pickled; or
            that a signal has ended it, after its runs were marked as KILLED.
        """
        before = read_there(self.folder, self.task.id)
        begun = There(
            process=this_process(),
            host=socket.gethostname(),
            state="going",
            attempts=1 if before is None else before.attempts + 1,
            began=time.time(),
            at=time.time(),
            idle=0 if before is None else before.idle,
        )
        left = resumable_files(self.task)
        write_there(self.folder, self.task.id, begun)
        self._set_up()
        word = _Word(self, begun)
        try:
            with stopped_by_signals() as signals:
                outcomes = self._outcomes(word.moved, again=before is not None)
        except SystemExit as stop:
            if not signals:
                word.last("failed", f"it ended with code {stop.code}")
                raise
            why = f"{signals[0].name} on {begun.host}"
            idle = begun.idle + 1 if resumable_files(self.task) == left else 0
            word.last("stopped", why, idle=idle)
            warned = signals[0].name == "SIGUSR2"
            return Stopped(why, warned=warned and idle < IDLE_ATTEMPTS)
        except BaseException as error:
            word.last("failed", with_type(error))
            raise
        failed = [one for one in outcomes if went_wrong(one)]
        word.last("failed" if failed else "done", first_line(failed[0]) if failed else None)
        return outcomes

    def _set_up(self) -> None:
        os.environ.update(self.environment)
        register_resolvers()
        redact_files()
        set_up_output()

    def _outcomes(self, moved: Callable[[float], None], *, again: bool) -> list[Any]:
        from adapterlab.studies.tasks.execution import outcomes_of, sendable

        task = self.task
        if task.resume or again:
            task = replace(task, configs=tuple(replace(c, resume=True) for c in task.configs))
        try:
            outcomes = outcomes_of(task, _data(), moved)
        except AdapterLabError as error:
            outcomes = [error for _ in task.configs]
        for outcome in outcomes:
            if went_wrong(outcome):
                _tell(outcome)
        return [sendable(outcome) for outcome in outcomes]


class _Word:
    """What a task says of itself, now and then."""

    def __init__(self, errand: Errand, begun: There) -> None:
        self._errand, self._there = errand, begun
        self._written = time.monotonic()

    def moved(self, runs: float) -> None:
        """Say that so many runs' worth of training has been done since."""
        self._there = replace(self._there, moved=self._there.moved + runs)
        if time.monotonic() - self._written > WRITE_SECONDS:
            with contextlib.suppress(OSError, FullDiskError):  # which no run is to fail by
                self._write()

    def last(self, state: Any, error: str | None, *, idle: int = 0) -> None:
        """Say how it has ended."""
        told = None if error is None else redacted(error)
        self._there = replace(self._there, state=state, error=told, idle=idle)
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        write_there(self._errand.folder, self._errand.task.id, self._there)


@cache
def _data() -> "ReadOnce":
    """Return the data that this process has read; a worker has several tasks."""
    from adapterlab.studies.sweeps.shared_data import ReadOnce

    return ReadOnce()


def _tell(error: BaseException) -> None:
    """Leave what nobody has foreseen in the task's log."""
    if isinstance(error, AdapterLabError):
        logging.getLogger(__name__).error("%s", error)
        return
    print(redacted("".join(traceback.format_exception(error))), file=sys.stderr, end="")


def inherited(*, waited_for: bool) -> dict[str, str]:
    """Return the variables that a task is given.

    Args:
        waited_for: the command stays until its tasks have ended, and ends the run that stands for
            the study then. Without it, each task opens and ends that itself.
    """
    names = [name for name in INHERITED if waited_for or name != MULTIRUN_VARIABLE]
    return {name: os.environ[name] for name in names if name in os.environ}
