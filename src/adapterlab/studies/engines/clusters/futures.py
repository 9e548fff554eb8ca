"""An engine over the futures of a cluster that answers for its tasks: what such engines share.

What a task has done is read where it writes it down, beside the records; see `on_node`.
"""

import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import Any

from adapterlab.base.errors import AdapterLabError, RunLostError, with_type
from adapterlab.base.planned_place import Place
from adapterlab.base.process_identity import is_gone
from adapterlab.base.workers import cores
from adapterlab.studies.engines import Asked, Work
from adapterlab.studies.engines.clusters.looks import Looks
from adapterlab.studies.engines.clusters.on_node import Errand, Stopped, TaskStoppedError, inherited
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.sent import Sent

POLL_SECONDS = 0.5
"""Between two looks for what has begun and ended."""

STOP_SECONDS = 40.0
"""That a task which is cancelled has to mark its runs."""


class WatchedEngine(ABC):
    """An `Engine` whose tasks are handed to a cluster at once, which has them wait for room.

    A subclass says how a task is begun, how it is told to end, and what has come of it. What the
    cluster has for a task is kept as its `job`.

    Args:
        work: that it is started for.
        words: what carries tasks out, for people: ``Ray``.
    """

    def __init__(self, work: Work, words: str) -> None:
        self._folder, self._words = work.folder, words
        self._environment = inherited(waited_for=work.waited_for)
        # Held where futures change: they are cancelled by one thread and settled by another.
        self._lock = threading.RLock()
        self._sent: dict[Future[list[Any]], Sent] = {}
        self._stopped_at: dict[Future[list[Any]], float] = {}
        self._closed = threading.Event()
        self._looks = Looks(words)
        self._watcher = threading.Thread(target=self._watch, name=words, daemon=True)

    @abstractmethod
    def _begin(self, errand: Errand, attempts: int) -> Any:
        """Hand a task to the cluster, which it has begun so often before; return its job."""

    @abstractmethod
    def _stop(self, job: Any) -> None:
        """Take a task back, or tell it to end by SIGTERM once its runs are marked."""

    @abstractmethod
    def _is_done(self, job: Any) -> bool:
        """Say whether the cluster has a result, or knows that there will be none."""

    @abstractmethod
    def _came_of(self, job: Any) -> "list[Any] | Stopped":
        """Return what has come of a task that is done.

        Raises:
            AdapterLabError: it is lost, or memory has run out.
        """

    @abstractmethod
    def _disconnect(self) -> None:
        """Leave the cluster, and end it if it is this engine's own."""

    def submit(self, task: Task) -> "Future[list[Any]]":
        """Have a task carried out; see `Engine`."""
        new = Sent.of(task, self._folder)
        new.job = self._begin(Errand(task, self._folder, self._environment), new.before)
        with self._lock:
            self._sent[new.future] = new
        if not self._watcher.is_alive():
            self._watcher.start()
        return new.future

    def send(self) -> None:  # noqa: B027  # an engine's own, which is complete
        """Do nothing: tasks are handed over one by one; see `Engine`."""

    @abstractmethod
    def name(self, future: "Future[list[Any]]") -> str | None:
        """Return what the cluster calls a task; see `Engine`."""

    def where(self, future: "Future[list[Any]]") -> str | None:
        """Return the node of a task; see `Engine`."""
        there = self._sent[future].there
        return None if there is None else f"{there.host}, a worker of {self._words}"

    def moved(self, future: "Future[list[Any]]") -> float:
        """Return how far a task has moved on; see `Engine`."""
        return self._sent[future].moved()

    def cancel(self, future: "Future[list[Any]]") -> None:
        """End a task; see `Engine`."""
        with self._lock:
            sent = self._sent[future]
            if future.done():
                return
            future.cancel()
            sent.cancelled = True
            self._stopped_at[future] = time.monotonic()
            self._stop(sent.job)

    def close(self) -> None:
        """Wait for what was told to end, and leave the cluster; see `Engine`."""
        self._closed.set()
        if self._watcher.is_alive():
            self._watcher.join(10)
        # A task may have begun in the moment in which it was taken back.
        while any(map(self._is_ending, self._stopped_at)):
            time.sleep(POLL_SECONDS)
        self._disconnect()

    def _watch(self) -> None:
        """Look for what has begun and ended, until the engine is closed."""
        while not self._closed.wait(POLL_SECONDS):
            for sent in list(self._sent.values()):
                with self._lock, self._looks.at(sent):
                    if not sent.future.done():
                        self._look(sent)

    def _look(self, sent: Sent) -> None:
        future, is_done = sent.future, self._is_done(sent.job)
        sent.look(self._folder)
        if sent.there is not None and not future.running():
            future.set_running_or_notify_cancel()
        if not is_done or self._is_ending(future):
            return
        if not future.running():
            future.set_running_or_notify_cancel()
        try:
            came_of = self._came_of(sent.job)
        except AdapterLabError as error:
            future.set_exception(error)
        except Exception as error:  # a class that is not there on this side, say
            future.set_exception(RunLostError(f"{self._words}: {with_type(error)}"))
        else:
            if isinstance(came_of, Stopped):
                future.set_exception(TaskStoppedError(came_of.why))
            else:
                future.set_result(came_of)

    def _is_ending(self, future: "Future[list[Any]]") -> bool:
        """Say whether a task that was told to end still marks its runs."""
        if (since := self._stopped_at.get(future)) is None:
            return False
        sent = self._sent[future]
        sent.look(self._folder)
        if sent.there is None or sent.there.state != "going" or is_gone(sent.there.process):
            return False
        return time.monotonic() - since < STOP_SECONDS


def place_here(
    processes: int | None, threads: int, *, gpu: bool, asked: Asked, apart: bool = False
) -> Place:
    """Return what a task has where the cluster is this machine.

    Args:
        processes: tasks that are carried out at the same time; None for as many as there is room
            for: as there are cores, or one, which has the GPU.
        threads: of a task.
        gpu: a task has the GPU.
        asked: what was said of the nodes.
        apart: the engine gives each task a GPU of its own, so there is room for as many as GPUs.
    """
    import psutil

    free = [psutil.virtual_memory().available]
    if gpu and (apart or asked.memory_gib is None):
        import torch

        if torch.cuda.is_available():
            count = torch.cuda.device_count() if apart else 1
            free = [torch.cuda.mem_get_info(number)[0] for number in range(count)]
    room = len(free) if gpu else max(cores() // threads, 1)
    if gpu and apart:
        at_once, shared = min(processes or room, room), 1
    else:
        at_once = shared = processes or room
    memory = asked.memory_gib or min(free) / 2**30 / shared
    return Place(memory, threads, gpu, "this machine", at_once)
