"""Carrying out the packs of a study, in this process and by an engine."""

import gc
import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from adapterlab.config.schema import Config
from adapterlab.runs.data import RunData
from adapterlab.runs.folders.homes import latest_home
from adapterlab.studies.tasks.engine import POLL_SECONDS, Engine, Task
from adapterlab.tracking.mlflow_run import mark_lost
from adapterlab.tracking.shared_entries import sharing

_CANCEL_SECONDS = 30.0
"""That tasks which are ended have to mark their runs."""


def carry_out(
    tasks: Sequence[Task],
    data: Callable[[Config], RunData],
    engine: Engine,
    *,
    begin: Callable[[int], None],
    move: Callable[[float], None],
    end: Callable[[int, list[Any]], None],
) -> None:
    """Carry out tasks, each here or by an engine, wherever there is time first.

    This process starts at once, with what the engine has not begun, so a short study does not wait
    for others to load. All calls come from this thread.

    Args:
        tasks: in the order in which they are begun.
        data: reads the data of a run.
        engine: what takes part in it.
        begin: called with a task's number when it has begun.
        move: called with how many runs' worth of training has been done since.
        end: called with a task's number and what came of each of its runs.
    """
    futures = [engine.submit(task) for task in tasks]
    engine.send()
    others = _Others(engine, tasks, futures, begin=begin, move=move, end=end)

    def moved(runs: float) -> None:
        move(runs)
        others.look_now_and_then()

    try:
        for number, future in enumerate(futures):
            if not future.cancel():  # the engine has begun it
                continue
            del others.open[number]
            begin(number)
            end(number, outcomes_of(tasks[number], data, moved))
            others.look()
        while others.open:
            wait(others.open.values(), POLL_SECONDS, FIRST_COMPLETED)
            others.look()
    except BaseException:
        for future in others.open.values():
            engine.cancel(future)
        begun = [future for future in others.open.values() if not future.cancelled()]
        wait(begun, _CANCEL_SECONDS)
        raise


class _Others:
    """The tasks that are not this process's, and what has been told of them.

    Attributes:
        open: the futures of those that have not ended, by number.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: Sequence[Task],
        futures: Sequence[Future[Any]],
        *,
        begin: Callable[[int], None],
        move: Callable[[float], None],
        end: Callable[[int, list[Any]], None],
    ) -> None:
        self.open = dict(enumerate(futures))
        self._engine, self._tasks = engine, tasks
        self._begin, self._move, self._end = begin, move, end
        self._begun: set[int] = set()
        self._looked = time.monotonic()

    def look_now_and_then(self) -> None:
        """Do what `look` does, unless that was a moment ago."""
        if time.monotonic() - self._looked > POLL_SECONDS:
            self.look()

    def look(self) -> None:
        """Tell what has begun, moved and ended since the last look."""
        for number, future in list(self.open.items()):
            has_ended = future.done()
            if not has_ended and not future.running():
                continue
            if number not in self._begun:
                self._begun.add(number)
                self._begin(number)
            if runs := self._engine.moved(future):
                self._move(runs)
            if has_ended:
                del self.open[number]
                self._end(number, _came_of(self._tasks[number], future))
        self._looked = time.monotonic()


def _came_of(task: Task, future: Future[list[Any]]) -> list[Any]:
    """Return what came of each run of a task; runs that it left open are marked as failed."""
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    for config in task.configs:
        mark_lost(config, latest_home(config).link.run_id(), error)
    return [error for _ in task.configs]


def outcomes_of(
    task: Task, data: Callable[[Config], RunData], moved: Callable[[float], None]
) -> list[Any]:
    """Carry out a task in this process; return what came of each of its runs.

    Of one that prepares, this is None for each that has all it needs now.

    Args:
        task: what is to be done.
        data: reads the data of a run.
        moved: called with how many runs' worth of training has been done since.
    """
    with sharing(task.configs[0]):
        return _outcomes_of(task, data, moved)


def _outcomes_of(
    task: Task, data: Callable[[Config], RunData], moved: Callable[[float], None]
) -> list[Any]:
    from adapterlab.runs.packs.pack import outcome_of, run_pack  # loads Lightning
    from adapterlab.runs.packs.queue import run_queue

    if task.prepares:
        from adapterlab.studies.tasks.shared_inputs import made

        return [made(config, data(config)) for config in task.configs]
    read = data(task.configs[0])
    # What has been loaded stays: without this, collecting garbage walks through all of it, again
    # and again, while pictures are drawn.
    gc.collect()
    gc.freeze()
    if task.packed and (pruner := task.configs[0].trial_pruner) is not None:
        lanes = task.lanes or pruner.lanes or len(task.configs)
        return run_queue(task.configs, lanes, read, moved)
    if task.packed:
        return run_pack(task.configs, read, moved, core_is_free=task.core_is_free)
    outcomes = [outcome_of(config, read) for config in task.configs]
    moved(len(task.configs))
    return outcomes


def sendable(outcome: Any) -> Any:
    """Return an outcome that can be sent to another process; some exceptions cannot."""
    try:
        pickle.loads(pickle.dumps(outcome))
    except Exception:
        return RuntimeError(f"{type(outcome).__name__}: {outcome}")
    return outcome
