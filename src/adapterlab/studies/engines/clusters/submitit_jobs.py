"""Jobs of submitit: what it is given, and what has come of that."""

import atexit
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout

from adapterlab.base.errors import RunLostError, went_wrong
from adapterlab.base.interrupts import TERMINATED
from adapterlab.studies.engines.clusters.on_node import Errand, Stopped, TaskStoppedError
from adapterlab.studies.tasks.sent import Sent

_LOG_LINES = 3
_TURN_SECONDS = 1.0


class Job:
    """What submitit carries out: an errand, and how it ends.

    Args:
        errand: what is to be done.
        at_once: of a study's jobs that are carried out at the same time; others wait for their
            turn. None where something else sees to that.
    """

    def __init__(self, errand: Errand, at_once: int | None = None) -> None:
        self.errand, self.at_once = errand, at_once

    def __call__(self) -> "list[Any] | Stopped":
        """Carry the errand out. A warning has submitit requeue the job when its runs are marked.

        A task of which a run has failed fails for Slurm as well.
        """
        requeue: Any = signal.getsignal(signal.SIGUSR2)
        with _turn(self.errand.folder, self.at_once):
            outcome = self.errand()
        if isinstance(outcome, Stopped):
            if outcome.warned and callable(requeue):
                requeue(signal.SIGUSR2, None)  # does not return
            _fail_in_the_end()
        elif any(went_wrong(one) for one in outcome):
            _fail_in_the_end()
        return outcome

    def checkpoint(self) -> Any:
        """Return what goes on from here: the same, which finds what its runs have left."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


@contextmanager
def _turn(folder: Path, at_once: int | None) -> Iterator[None]:
    """Wait until one of so many places is free, and take it."""
    if at_once is None:
        yield
        return
    locks = [FileLock(folder / f".turn-{number}.lock") for number in range(at_once)]
    before = signal.signal(signal.SIGTERM, _end)  # submitit's own handler goes on
    try:
        lock = _first_free(locks)
    finally:
        signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        lock.release()


def _first_free(locks: Sequence[FileLock]) -> FileLock:
    """Wait until one of several locks is free, and take it."""
    while True:
        for lock in locks:
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                return lock
        time.sleep(_TURN_SECONDS)


def _end(number: int, _: FrameType | None) -> None:
    """End a job that has not begun: there is nothing to mark."""
    sys.exit(TERMINATED)


def _fail_in_the_end() -> None:
    """Let this process end with 1: submitit ends with 0 whatever a function has returned."""

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    atexit.register(end)


def settle(future: "Future[list[Any]]", result: Path, sent: Sent) -> None:
    """Give a future what submitit has written."""
    from submitit.core.utils import pickle_load

    try:
        kind, value = pickle_load(result)
    except Exception as error:  # a class that is not there on this side, or half a file
        future.set_exception(RunLostError(f"job {sent.job.job_id}: no result can be read: {error}"))
        return
    if kind == "error":
        last = (str(value).strip().splitlines() or [""])[-1]
        future.set_exception(RunLostError(f"job {sent.job.job_id}: {last}"))
    elif isinstance(value, Stopped):
        future.set_exception(TaskStoppedError(f"job {sent.job.job_id}: {value.why}"))
    else:
        future.set_result(value)


def log_of(job: Any) -> str:
    """Return the last lines of what a job has written, as the end of a sentence."""
    return end_of([job.paths.stderr, job.paths.stdout])


def end_of(logs: Iterable[Path]) -> str:
    """Return the last lines of the first of some logs that has any, as the end of a sentence."""
    for path in logs:
        try:
            lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
        except OSError:
            continue
        if lines := [line for line in lines if line][-_LOG_LINES:]:
            return "; its log ends: " + " | ".join(lines)
    return "; it has left no log"
