"""The engine of one machine: processes beside this one, each at one task at a time."""

import logging
import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import BrokenExecutor, Future
from functools import cache, partial
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import AdapterLabError, RunLostError
from adapterlab.base.output import set_up_output
from adapterlab.base.planned_place import Place
from adapterlab.base.redaction import redact_files
from adapterlab.base.signals import in_training_process
from adapterlab.base.workers import Worker, queue_to_worker
from adapterlab.config.conf_folder import register_resolvers
from adapterlab.config.validation import STRICT
from adapterlab.studies.engines import Asked, Work
from adapterlab.studies.tasks.engine import POLL_SECONDS, Task

if TYPE_CHECKING:
    from adapterlab.runs.packs.lanes import Outcome
    from adapterlab.studies.sweeps.shared_data import ReadOnce

    Outcomes = Future[list[Outcome]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    """Options of ``engine=local``.

    Attributes:
        processes: that work at once; None for as many as there are cores.
    """

    processes: Annotated[int, Field(ge=1, le=1024)] | None = None


def place(options: Options, asked: Asked) -> Place | None:
    """Say that tasks are carried out on this machine."""
    return None


def start(options: Options, work: Work) -> "LocalEngine":
    """Start as many processes as there is room for."""
    return LocalEngine(work.slots)


class LocalEngine:
    """An `Engine` of processes beside this one.

    They are started at once, and take their first task when they have loaded what it needs. One
    that dies is not replaced: most often there was not the memory for so many.

    Args:
        slots: how many; with none, tasks wait until they are taken back.
    """

    def __init__(self, slots: int) -> None:
        # Held where slots and the line change: what ends a task is told to other threads.
        self._lock = threading.RLock()
        self._line: deque[tuple[Task, Outcomes]] = deque()
        self._slots: list[_Slot] = []
        self._at: dict[Outcomes, _Slot] = {}
        self._closed = False
        for _ in range(slots):
            self._start()

    def submit(self, task: Task) -> "Outcomes":
        """Have a task carried out; see `Engine`."""
        future: Outcomes = Future()
        with self._lock:
            self._line.append((task, future))
            if free := [slot for slot in self._slots if slot.is_free]:
                self._give(free[0])
        return future

    def cancel(self, future: "Outcomes") -> None:
        """End a task; see `Engine`. A new process takes the place of the one that was at it."""
        with self._lock:
            slot = self._at.get(future)
            if not future.cancel() and slot is not None and slot.future is future:
                slot.terminate()

    def where(self, future: "Outcomes") -> str | None:
        """Return the process of a task; see `Engine`."""
        slot = self._at.get(future)
        return None if slot is None else f"process {slot.pid}"

    def moved(self, future: "Outcomes") -> float:
        """Return how far a task has moved on; see `Engine`."""
        with self._lock:
            slot = self._at.get(future)
            return slot.moved() if slot is not None and slot.future is future else 0.0

    def send(self) -> None:
        """Do nothing: a task is begun as soon as a process is free; see `Engine`."""

    def name(self, future: "Outcomes") -> str | None:
        """Return no name: processes know no tasks of others; see `Engine`."""
        return None

    def close(self) -> None:
        """Kill the processes; see `Engine`."""
        with self._lock:
            self._closed = True
            slots = list(self._slots)
        for slot in slots:
            slot.worker.kill()

    def _start(self) -> None:
        slot = _Slot()
        self._slots.append(slot)
        slot.worker.submit(_load).add_done_callback(partial(self._loaded, slot))

    def _loaded(self, slot: "_Slot", loaded: "Future[int]") -> None:
        with self._lock:
            error = loaded.exception()
            if error is None:
                slot.has_loaded(loaded.result())
                self._give(slot)
                return
            self._slots.remove(slot)
            if not isinstance(error, BrokenExecutor | SystemExit) and not self._closed:
                log.warning("a process could not begin, and the others go on: %s", error)

    def _give(self, slot: "_Slot") -> None:
        """Give a slot the next task, if there is one."""
        slot.future = None
        while self._line and not self._closed:
            task, future = self._line.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            self._at[future] = slot
            try:
                done = slot.take(task, future)
            except BrokenExecutor as error:  # it has died since its last task
                self._lost(slot, future, error)
            else:
                done.add_done_callback(partial(self._done, slot, future))
            return

    def _done(self, slot: "_Slot", future: "Outcomes", done: "Outcomes") -> None:
        with self._lock:
            error = done.exception()
            if isinstance(error, BrokenExecutor | SystemExit):
                self._lost(slot, future, error)
                return
            if error is None:
                future.set_result(done.result())
            else:
                future.set_exception(error)
            if slot.is_ending:
                self._end(slot)
            else:
                self._give(slot)

    def _lost(self, slot: "_Slot", future: "Outcomes", error: BaseException) -> None:
        code = error.code if isinstance(error, SystemExit) else slot.exit_code()
        future.set_exception(RunLostError(f"the process that trained it ended with code {code}"))
        self._end(slot)

    def _end(self, slot: "_Slot") -> None:
        self._slots.remove(slot)
        slot.worker.kill(wait=False)
        if slot.is_ending and self._line and not self._closed:
            self._start()


class _Slot:
    """A process, and the task that it is at.

    Attributes:
        worker: the process.
        future: of its task; None while it loads, and while it waits for one.
        is_ending: it has been told to end its task, and itself with it.
    """

    def __init__(self) -> None:
        self._moves = queue_to_worker()
        self.worker = Worker(_begin, self._moves, os.getpid())
        self.future: Outcomes | None = None
        self.is_ending = False
        self._process: BaseProcess | None = None
        self._taken = 0

    @property
    def is_free(self) -> bool:
        """Say whether it would begin a task at once."""
        return self._process is not None and self.future is None

    @property
    def pid(self) -> int | None:
        """Return the number of its process; None while it loads."""
        return None if self._process is None else self._process.pid

    def has_loaded(self, pid: int) -> None:
        """Take note that its process can begin."""
        self._process = next((each for each in active_children() if each.pid == pid), None)

    def take(self, task: Task, future: "Outcomes") -> "Outcomes":
        """Have a task begun, which is known by a future; return that of the process.

        Raises:
            BrokenExecutor: the process has died.
        """
        self.future = future
        self._taken += 1
        return self.worker.submit(_carried_out, task, self._taken)

    def moved(self) -> float:
        """Return by how many runs its task has moved on since this was asked last."""
        moved = 0.0
        while True:
            try:
                number, runs = self._moves.get_nowait()
            except queue.Empty:
                return moved
            if number == self._taken:
                moved += runs

    def terminate(self) -> None:
        """Have its process end by an exception."""
        if self._process is not None:
            self.is_ending = True
            self._process.terminate()

    def exit_code(self) -> int | None:
        """Return what its process has ended with; None if that is not known."""
        if self._process is None:
            return None
        self._process.join(1)
        return self._process.exitcode


_moves: Any = None
"""In a process of the engine: takes the number of a task and how many runs it has moved on."""


def _begin(moves: Any, parent: int) -> None:
    """Begin the life of a process of the engine."""
    global _moves  # a process has one
    in_training_process(parent)
    register_resolvers()
    redact_files()
    set_up_output()
    logging.getLogger("adapterlab").setLevel(logging.WARNING)
    _moves = moves


def _load() -> int:
    """Load what tasks need, which takes seconds; return the number of this process."""
    import adapterlab.runs.packs.pack
    import adapterlab.studies.tasks.execution  # noqa: F401

    return os.getpid()


@cache
def _data() -> "ReadOnce":
    from adapterlab.studies.sweeps.shared_data import ReadOnce

    return ReadOnce()


def _carried_out(task: Task, number: int) -> list[Any]:
    """Carry out a task in this process, and send how it moves on."""
    from adapterlab.studies.tasks.execution import outcomes_of, sendable

    pending, last = 0.0, time.monotonic()

    def moved(runs: float) -> None:
        nonlocal pending, last
        pending += runs
        if time.monotonic() - last > POLL_SECONDS:
            _moves.put((number, pending))
            pending, last = 0.0, time.monotonic()

    try:
        outcomes = outcomes_of(task, _data(), moved)
    except AdapterLabError as error:
        outcomes = [error for _ in task.configs]
    return [sendable(outcome) for outcome in outcomes]
