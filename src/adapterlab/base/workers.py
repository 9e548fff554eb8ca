"""A process beside this one, for work that it need not wait for."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache
from typing import Any

from adapterlab.base.garbage_collection import collect_seldom
from adapterlab.base.signals import in_helping_process, start_trackers

IDLE_SECONDS = 60
"""After which the process ends; it is started again when there is more to do."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def submit(function: Callable[..., Any], *arguments: Any) -> "Future[Any] | None":
    """Have a function of a module called in the process beside; it is started if need be.

    Returns:
        What will come of it; None if the process has died, and the next call starts another.
    """
    from concurrent.futures.process import BrokenProcessPool

    try:
        future: Future[Any] = _executor().submit(function, *arguments)
    except BrokenProcessPool:
        _executor.cache_clear()
        return None
    return future


@lru_cache(maxsize=1)
def _executor() -> Any:
    # Not one of the standard library: its processes begin by importing the main program anew. Nor
    # the one that loky and joblib reuse: a launcher may be at work with that.
    from joblib.externals.loky import ProcessPoolExecutor

    start_trackers()
    return ProcessPoolExecutor(max_workers=1, timeout=IDLE_SECONDS, initializer=_begin)


def _begin() -> None:
    collect_seldom()
    in_helping_process()
