"""Processes beside this one, each for one thing after another: the one pool that there is."""

import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from functools import lru_cache
from multiprocessing import current_process
from typing import Any

from adapterlab.base.garbage_collection import collect_seldom
from adapterlab.base.interrupts import undisturbed
from adapterlab.base.signals import in_helping_process, interrupts_held, start_trackers

IDLE_SECONDS = 60
"""After which the process for small things ends; it is started again when there is more to do."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Worker:
    """A process that does one thing after another; it is started at the first.

    Each has an executor of its own: the death of one process breaks all of an executor's.

    Args:
        begin: called in the process before anything else, with `arguments`.
        idle_seconds: after which the process ends, until there is more to do; None for never.
    """

    def __init__(
        self, begin: Callable[..., None], *arguments: Any, idle_seconds: float | None = None
    ) -> None:
        # Not an executor of the standard library: its processes begin by importing the main program
        # anew. Nor the one that loky and joblib reuse: a launcher may be at work with that.
        from joblib.externals.loky import ProcessPoolExecutor

        start_trackers()
        self._executor = ProcessPoolExecutor(
            max_workers=1,
            timeout=idle_seconds,
            initializer=_begin,
            initargs=(begin, *arguments),
        )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Have a function of a module called.

        Raises:
            BrokenExecutor: the process has died.
        """
        with undisturbed(), interrupts_held():
            future: Future[Any] = self._executor.submit(function, *arguments)
        return future

    def kill(self, *, wait: bool = True) -> None:
        """End the process, and those that it has started, whatever they are at."""
        self._executor.shutdown(wait=wait, kill_workers=True)


def queue_to_worker() -> Any:
    """Return a queue that can be one of the arguments of a worker's `begin`."""
    from joblib.externals.loky.backend import get_context

    start_trackers()  # which a queue would start, and not quietly
    return get_context().Queue()


def submit(function: Callable[..., Any], *arguments: Any) -> "Future[Any] | None":
    """Have a function of a module called in a process for small things; it is started if need be.

    Returns:
        What will come of it; None if the process has died, and the next call starts another, or if
        this process may have none: one of a pool of `multiprocessing`.
    """
    if current_process().daemon:
        return None
    try:
        return _for_small_things().submit(function, *arguments)
    except BrokenExecutor:
        _for_small_things.cache_clear()
        return None


@lru_cache(maxsize=1)
def _for_small_things() -> Worker:
    return Worker(in_helping_process, idle_seconds=IDLE_SECONDS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_for_small_things.cache_clear)  # the process is the parent's


def _begin(begin: Callable[..., None], *arguments: Any) -> None:
    from joblib.externals.loky import process_executor

    # It would end a process whose memory has grown by 300 MB, and what has been read is kept.
    process_executor._USE_PSUTIL = False
    collect_seldom()
    begin(*arguments)
