"""The engine of one machine: what becomes of tasks whose process is killed, ended or in the way."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import psutil
import pytest

from adapterlab.base.errors import ConfigError, RunLostError
from adapterlab.studies.engines import local as local_engine
from adapterlab.studies.engines.local import LocalEngine
from adapterlab.studies.tasks.engine import Engine, Task

SHORT, FAILS, UNSENDABLE = 0.0, -1.0, -2.0


def task(seconds: float) -> Task:
    """Return a task that waits; what its processes do here is `wait_for`."""
    return Task((seconds,), packed=False)  # type: ignore[arg-type]


def wait_for(task: Task, number: int) -> list[Any]:
    """Say by a moved run that it has begun, and wait."""
    local_engine._moves.put((number, 0.5))
    local_engine._moves.put((number - 1, 8.0))  # a late word of the task before
    (seconds,) = task.configs
    if seconds == FAILS:
        raise ConfigError("not like this")
    if seconds == UNSENDABLE:
        return [threading.Lock()]
    time.sleep(seconds)  # type: ignore[arg-type]
    return [os.getpid()]


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_engine, "_load", os.getpid)
    monkeypatch.setattr(local_engine, "_carried_out", wait_for)


@pytest.fixture
def started() -> Iterator[Callable[[int], Engine]]:
    engines: list[LocalEngine] = []

    def start(slots: int) -> Engine:
        engines.append(LocalEngine(slots))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def begun(engine: Engine, future: "Future[list[Any]]") -> int:
    """Wait until a task is on its way; return the process that is at it."""
    moved, limit = 0.0, time.monotonic() + 60
    while not moved:
        assert time.monotonic() < limit
        time.sleep(0.01)
        moved = engine.moved(future)
    assert moved == 0.5
    return process_of(engine, future)


def process_of(engine: Engine, future: "Future[list[Any]]") -> int:
    where = engine.where(future)
    assert where is not None
    return int(where.removeprefix("process "))


def test_a_dead_process_is_a_failed_task_and_the_others_go_on(
    started: Callable[[int], Engine],
) -> None:
    engine = started(2)
    killed, ended = engine.submit(task(600)), engine.submit(task(600))
    left = engine.submit(task(SHORT))
    assert engine.where(left) is None
    first, second = begun(engine, killed), begun(engine, ended)
    assert first != second
    assert not killed.cancel()  # too late to take it back

    os.kill(first, signal.SIGKILL)
    with pytest.raises(RunLostError, match="ended with code -9"):
        killed.result(60)
    assert not ended.done()
    assert not left.running()  # the dead process is not replaced
    assert engine.where(killed) == f"process {first}"

    # One that is ended from outside marks its runs on the way out, and says how it ended.
    os.kill(second, signal.SIGTERM)
    with pytest.raises(RunLostError, match="ended with code 143"):
        ended.result(60)
    time.sleep(0.1)
    assert not left.running()
    assert left.cancel()


def test_a_task_is_cancelled_and_the_next_one_begins(started: Callable[[int], Engine]) -> None:
    engine = started(1)
    futures = [engine.submit(task(seconds)) for seconds in (600, 600, FAILS, UNSENDABLE, SHORT)]
    first = begun(engine, futures[0])
    os.kill(first, signal.SIGINT)  # which is the parent's
    engine.cancel(futures[1])
    assert futures[1].cancelled()
    engine.cancel(futures[0])
    with pytest.raises(RunLostError, match="143"):
        futures[0].result(60)
    with pytest.raises(ConfigError, match="not like this"):
        futures[2].result(60)
    with pytest.raises(Exception, match="pickle '_thread"):
        futures[3].result(60)
    (second,) = futures[4].result(60)
    assert first != second == process_of(engine, futures[4])
    engine.cancel(futures[4])  # it has ended
    assert engine.submit(task(SHORT)).result(60) == [second]


def test_nothing_is_left_of_a_closed_engine() -> None:
    before = set(psutil.Process().children())
    with closing(LocalEngine(2)) as engine:
        futures = [engine.submit(task(600)) for _ in range(3)]
        begun(engine, futures[0])
    assert {each for each in psutil.Process().children() if each not in before} <= _trackers()
    assert futures[0].done()
    assert futures[2].cancel()


def _trackers() -> set[psutil.Process]:
    children = psutil.Process().children()
    return {each for each in children if "resource_tracker" in " ".join(each.cmdline())}


def test_an_engine_without_processes_leaves_all_to_this_one() -> None:
    with closing(LocalEngine(0)) as engine:
        future = engine.submit(task(SHORT))
        assert engine.moved(future) == 0
        assert engine.where(future) is None
        assert future.cancel()
