"""What a study says of the time that is left, where there is no terminal."""

import logging
import time

import pytest

from adapterlab.studies.launching.progress import StudyProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def last_line(caplog: pytest.LogCaptureFixture) -> str:
    return caplog.messages[-1]


def test_what_ended_before_and_what_failed_is_no_pace(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="adapterlab")
    progress = StudyProgress("study", 100, before=40)
    progress.begin(10)
    clock[0] = 60.0
    progress.move(10)
    assert last_line(caplog) == "40 of 100 runs done, 10 in flight, about 5 min 0 s left"
    progress.end(10)
    progress.begin(20)
    progress.end(20, failed=20)
    progress.begin(10)
    clock[0] = 120.0
    progress.move(10)
    assert last_line(caplog) == "70 of 100 runs done, 10 in flight, about 2 min 0 s left"


def test_a_run_that_stops_early_is_done(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="adapterlab")
    progress = StudyProgress("study", 10)
    progress.begin(4)
    clock[0] = 30.0
    progress.move(1)
    progress.end(4)
    progress.begin(2)
    clock[0] = 60.0
    progress.move(1)
    assert last_line(caplog) == "4 of 10 runs done, 2 in flight, about 1 min 0 s left"
