"""The thread that looks at tasks outlives what goes wrong with a look, and says so."""

import errno
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapterlab.base.errors import RunLostError
from adapterlab.studies.engines import Work
from adapterlab.studies.engines.clusters import futures, looks
from adapterlab.studies.engines.clusters.futures import WatchedEngine
from adapterlab.studies.engines.submitit import Options, SubmititEngine
from adapterlab.studies.tasks.engine import Task

STALE = OSError(errno.ESTALE, "Stale file handle")


class Cluster(WatchedEngine):
    """One whose answers are told."""

    def __init__(self, folder: Path, answer: Callable[[], bool]) -> None:
        super().__init__(Work(folder, "there"), "a cluster")
        self._answer = answer

    def _begin(self, errand: object, attempts: int) -> object:
        return errand

    def _is_done(self, job: object) -> bool:
        return self._answer()

    def _came_of(self, job: object) -> list[Any]:
        return ["result"]

    def _stop(self, job: object) -> None: ...

    def _disconnect(self) -> None: ...

    def name(self, future: object) -> None: ...


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(futures, "POLL_SECONDS", 0.01)


def test_a_disk_that_is_away_for_a_moment_loses_no_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = [STALE, STALE]

    def answer() -> bool:
        if away:
            raise away.pop()
        return True

    with closing(Cluster(tmp_path, answer)) as engine, caplog.at_level(logging.WARNING):
        assert engine.submit(Task((), packed=False, id="t")).result(20) == ["result"]
    (line,) = caplog.messages
    assert line.startswith("a cluster: a task cannot be looked at now: OSError: ")


def test_what_cannot_be_looked_at_for_long_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer() -> bool:
        raise STALE

    monkeypatch.setattr(looks, "PATIENCE", 0.05)
    with closing(Cluster(tmp_path, answer)) as engine:
        lost = engine.submit(Task((), packed=False, id="t"))
        with pytest.raises(RunLostError, match="a cluster: it cannot be looked at: OSError"):
            lost.result(20)


def test_so_is_what_cannot_be_submitted_when_its_turn_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(SubmititEngine, "_send_after", cannot)
    engine = SubmititEngine(Options(cluster="local", processes=1), Work(tmp_path, "there"))
    first, second = (engine.submit(Task((), packed=False, id=name)) for name in "tu")
    engine._send_now()
    with pytest.raises(RunLostError, match="it could not be submitted: BlockingIOError"):
        first.result(0)
    assert not second.done()  # in line still
