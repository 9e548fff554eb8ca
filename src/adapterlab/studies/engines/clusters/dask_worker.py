"""What a worker of Dask does with a task: it has a process of its own carry the task out.

Dask's workers call functions in threads, where no signal is heard, and stop none. They may also be
daemonic, and so have no children of `multiprocessing`: a child is started by its name. It keeps
what it has loaded and read for the next task, and ends with the worker, after its runs are marked.
This is imported by workers, so nothing heavy is.
"""

import os
import pickle
import subprocess
import sys
import time
from collections import deque
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterlab.base.errors import RunLostError
from adapterlab.base.signals import in_training_process, interrupts_held
from adapterlab.studies.engines.clusters.submitit_processes import import_paths

if TYPE_CHECKING:
    from adapterlab.studies.engines.clusters.on_node import Errand

POLL_SECONDS = 0.25
"""Between two looks whether a task was cancelled."""

END_SECONDS = 20.0
"""That a process has to end whose worker was killed, before its task is begun anew."""

_idle: "deque[_Child]" = deque()
"""Processes of this worker that wait for a task: as many as it has had at the same time."""


def carried_out(call: bytes) -> bytes:
    """Carry a task out, in a thread of a worker, and end it where Dask has cancelled it.

    A task is cancelled as well when the client that has submitted it is gone.

    Args:
        call: what `called` takes, as a pickle.

    Returns:
        What came of it, as a pickle.

    Raises:
        RunLostError: the process that carried it out has ended without a word.
    """
    from distributed import get_worker

    worker: Any = get_worker()
    key, child, stopped = worker.get_current_task(), _child(), False
    child.begin(call)
    while not child.has_ended(POLL_SECONDS):
        state = worker.state.tasks.get(key)
        if not stopped and (state is None or state.state == "cancelled"):
            child.terminate()
            stopped = True
    came_of = child.result()
    if stopped:  # it may hear that only now
        child.end()
    else:
        _idle.append(child)
    return came_of


def called(errand: "Errand", attempts: int, log: Path) -> Any:
    """Carry an errand out in this process.

    Args:
        errand: what is to be done.
        attempts: that there were at it when it was submitted. Where there are more, Dask has lost
            one and tries again by itself; the command is to mark its runs first.
        log: where what it prints goes.

    Returns:
        What came of it: an exception as well.
    """
    from adapterlab.base.process_identity import is_elsewhere, is_gone
    from adapterlab.studies.tasks.execution import sendable
    from adapterlab.studies.tasks.records import read_there

    there = read_there(errand.folder, errand.task.id)
    if there is not None and there.attempts > attempts:
        return RunLostError("the worker that carried it out is gone")
    limit = time.monotonic() + END_SECONDS
    while there is not None and there.state == "going" and time.monotonic() < limit:
        if is_gone(there.process) or is_elsewhere(there.process):
            break  # of another machine's, only the locks of its runs tell
        time.sleep(POLL_SECONDS)
        there = read_there(errand.folder, errand.task.id)
    _print_to(log)
    try:
        return errand()
    except Exception as error:
        return sendable(error)


class _Child:
    """A process beside the worker, which does one thing after another."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        file = theirs.fileno()
        with theirs, interrupts_held():
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(file), str(os.getpid())],
                pass_fds=[file],
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": import_paths()},
            )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def begin(self, call: bytes) -> None:
        """Have `called` called.

        Raises:
            RunLostError: the process has died.
        """
        try:
            self._connection.send_bytes(call)
        except OSError:
            raise self._lost() from None

    def has_ended(self, seconds: float) -> bool:
        """Wait so long at most; say whether there is a result, or that there will be none."""
        return self._connection.poll(seconds)

    def result(self) -> bytes:
        """Return what came of it.

        Raises:
            RunLostError: the process has died.
        """
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._lost() from None

    def terminate(self) -> None:
        """Have the task end, after its runs are marked."""
        self._process.terminate()

    def end(self) -> None:
        """End the process, which waits for another task."""
        self._connection.close()
        self._process.wait()

    def _lost(self) -> RunLostError:
        self._connection.close()
        code = self._process.wait()
        return RunLostError(f"the process that trained it ended with code {code}")


def _child() -> _Child:
    """Return a process that waits for a task; it is started if there is none."""
    while _idle:
        try:
            child = _idle.pop()
        except IndexError:  # another thread was faster
            break
        if child.is_alive:
            return child
    return _Child()


def _print_to(log: Path) -> None:
    """Have what this process prints from now on go to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _main(file: int, parent: int) -> None:
    """Live as a child: call what comes, until nothing will."""
    connection = Connection(file)
    in_training_process(parent)
    while True:
        try:
            call = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(pickle.dumps(called(*pickle.loads(call))))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
