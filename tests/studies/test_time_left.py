"""The time left of runs that are going: estimated where anything tells, or why nothing does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterlab.app.status_command import UNDER_WAY, status
from adapterlab.base.process_identity import this_process
from adapterlab.studies.status.study_status import status_of
from adapterlab.studies.status.time_left import TimeLeft, time_left, typical_seconds, why_untold
from adapterlab.studies.tasks.commands import Asked
from adapterlab.tracking.study_runs import LoggedRun, StudyRuns
from lab import Outcome
from study_lab import Lab

NOW, SINCE = 1000.0, 900.0


def run(began: float, **more: Any) -> LoggedRun:
    name = f"at{began}-{len(more)}"
    return LoggedRun(
        name, name, (name, ""), **{"status": "RUNNING", "process": None, "began": began, **more}
    )


def ended(began: float, at: float, **more: Any) -> LoggedRun:
    return run(began, ended=at, **{"status": "FINISHED", **more})


FINISHED = [ended(900, 940), ended(905, 935), ended(910, 960)]


@pytest.mark.parametrize(
    ("runs", "typical"),
    [
        ([], None),
        (FINISHED, 40),
        ([ended(900, 910, status="FAILED")], None),
        ([ended(800, 820)], 20),  # of before, where there are no others
        ([ended(800, 820), *FINISHED], 40),
        ([ended(800, 950)], None),  # it went on from before
    ],
)
def test_what_runs_took(runs: list[LoggedRun], typical: float | None) -> None:
    assert typical_seconds(runs, SINCE) == typical


def test_what_runs_took_where_no_command_is_known() -> None:
    assert typical_seconds([ended(800, 950), ended(800, 850)], None) == 100


@pytest.mark.parametrize(
    ("going", "typical", "expected"),
    [
        (run(980, epochs=4, epoch=1, heard=990), 40, TimeLeft(20, paced=True)),
        (run(980, epochs=4, epoch=1, heard=990), None, TimeLeft(20, paced=True)),
        (run(980, epochs=4), 50, TimeLeft(30)),
        (run(980), 50, TimeLeft(30)),
        (run(500, epochs=4, epoch=2, heard=990), 40, TimeLeft(10)),  # it goes on from before
        (run(500, epochs=4), 140, TimeLeft(40)),
        (run(980, epochs=4), None, "no epoch has ended yet, nor has another run"),
        (run(980), None, "how many epochs it trains has not been said"),
        (
            run(500, epochs=4, epoch=2, heard=990),
            None,
            "it goes on from an earlier attempt, and no",
        ),
        (run(950, epochs=4), 40, "it is under way for longer than those took that have ended"),
    ],
)
def test_of_a_run(going: LoggedRun, typical: float | None, expected: TimeLeft | str) -> None:
    found = time_left(going, SINCE, typical, NOW)
    if isinstance(expected, TimeLeft):
        assert found == expected
    else:
        assert found.seconds is None
        assert found.why.startswith(expected)


def test_of_a_process_that_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows its pace, and keeps it no longer."""
    going = run(980, epochs=4, epoch=1, heard=990, process=this_process())
    assert time_left(going, SINCE, 40, NOW).paced
    monkeypatch.setattr("adapterlab.base.locks.is_stopped", lambda number: True)
    monkeypatch.setattr("adapterlab.studies.status.time_left.is_stopped", lambda number: True)
    found = time_left(going, SINCE, 40, NOW)
    assert found.seconds is None
    assert "which is stopped (`kill -CONT" in found.why


def test_of_a_study_the_pace_is_that_of_runs_whose_epochs_tell() -> None:
    going = run(980, epochs=4)
    logged = StudyRuns(runs=(*FINISHED, going), attempts=(*FINISHED, going))
    asked = [Asked("0badcafe-0badcafe-1-1", SINCE, (), None)]
    found = status_of("s", logged, [], asked, NOW)
    assert found.left == pytest.approx(20)
    assert found.why_untold == ""
    alone = status_of("s", StudyRuns(runs=(going,), attempts=(going,)), [], asked, NOW)
    assert alone.left is None
    assert alone.why_untold == "no epoch has ended yet, nor has another run (1 run)"


def test_each_reason_is_said_once() -> None:
    going = [TimeLeft(why="a"), TimeLeft(3.0), TimeLeft(why="b"), TimeLeft(why="a")]
    assert why_untold(going, waiting=False) == "a (2 runs); b (1 run)"
    assert why_untold([TimeLeft(3.0)], waiting=True) == "none has come to the end of an epoch yet"
    assert why_untold([TimeLeft(3.0)], waiting=False) == ""


def test_it_is_printed(lab_root: Path, run_cli: Callable[..., Outcome]) -> None:
    lab = Lab(lab_root, "time-left")
    lab.open(0)
    shown = run_cli("study=time-left", program=status, root=lab_root)
    assert shown.code == UNDER_WAY
    assert "time left is not known of all: no epoch has ended yet" in shown.out
    config = lab.ended(1, "FINISHED")
    now = lab.client.get_run(config).info
    lab.client.set_terminated(config, "FINISHED", now.start_time + 3_600_000)
    shown = run_cli("study=time-left", program=status, root=lab_root)
    assert "not known" not in shown.out
    assert "1 of 2 runs done, about " in shown.out
