"""How a study stands: by what MLflow has of it, and what commands and tasks have written down."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterlab.app.cli import USER_ERROR
from adapterlab.app.status_command import FAILED, UNDER_WAY, status
from adapterlab.app.sync_command import sync
from adapterlab.base.process_identity import host_of, this_process
from adapterlab.config.multirun import MULTIRUN_VARIABLE
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.studies.status.study_status import study_status
from adapterlab.studies.tasks import commands
from adapterlab.studies.tasks.commands import asked_for, read_asked, write_asked
from adapterlab.studies.tasks.records import run_names
from adapterlab.tracking import trackers
from lab import Outcome, tiny
from study_lab import ELSEWHERE, Lab


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    """A study of the test's own, in a store that all share."""
    return f"stands-{request.node.name.replace('_', '-')}"


@pytest.fixture
def lab(lab_root: Path, study: str) -> Lab:
    return Lab(lab_root, study)


def test_runs_of_this_machine(lab: Lab, run_cli: Callable[..., Outcome]) -> None:
    here = socket.gethostname()
    write_asked([lab.config(seed) for seed in range(6)])
    lab.ended(0, "FINISHED")
    lab.ended(1, "FAILED", "TrainingDivergedError: the loss is nan")
    lab.ended(2, "KILLED")
    lab.open(3, epochs=1)
    lab.open(4, process=this_process()[:-1] + "x")  # no process is called so
    assert lab.by_seed() == {
        0: ("done", here),
        1: ("failed", here),
        2: ("killed", here),
        3: ("going", here),
        4: ("going", "-"),
        5: ("waiting", "-"),
    }
    shown = run_cli(f"study={lab.study}", program=status, root=lab.root)
    assert shown.code == UNDER_WAY
    assert f"Study {lab.study}: 1 of 6 runs done" in shown.out
    assert "TrainingDivergedError: the loss is nan" in shown.out
    # The command was killed: what it had not begun never will be, and what it had is lost.
    (asked,) = read_asked(lab.root / "mlruns", lab.study)
    gone = asked.process.rpartition("-")[0] + "-1"
    path = lab.asked
    path.write_text(path.read_text().replace(asked.process, gone))
    for run in lab.status().logged.runs:
        lab.client.set_tag(run.run_id, "process", gone)
    now = lab.by_seed()
    assert {seed: now[seed][0] for seed in (3, 4, 5)} == {3: "killed", 4: "killed", 5: "not begun"}
    assert run_cli(f"study={lab.study}", program=status, root=lab.root).code == FAILED


def test_runs_of_tasks(lab: Lab) -> None:
    lab.task("a-1", 0, 1, 2, state="going")
    lab.there("a-1", "n1")
    lab.ended(0, "FINISHED")
    lab.open(1, epochs=1, process=ELSEWHERE)  # 2 has not begun: its task loads what it needs
    lab.task("a-2", 3)
    lab.task("a-3", 4, state="given up", error="node lost; its log ends: Killed")
    lab.task("a-4", 5, state="going")
    lab.there("a-4", "n2", "stopped", process="1badcafe-0badcafe-17-99", error="SIGTERM on n2")
    lab.ended(5, "KILLED")
    lab.task("a-5", 6, 7, state="split")
    lab.task("a-6", 6)
    lab.task("a-7", 7, state="cancelled")
    assert lab.by_seed() == {
        0: ("done", socket.gethostname()),
        1: ("going", "n1"),
        2: ("going", "n1"),
        3: ("waiting", "-"),
        4: ("failed", "-"),
        5: ("waiting", "-"),
        6: ("waiting", "-"),
        7: ("not begun", "-"),
    }
    failed = [run for run in lab.status().runs if run.status == "failed"]
    assert [run.why for run in failed] == ["node lost; its log ends: Killed"]


def test_a_task_that_was_killed_with_its_runs(lab: Lab) -> None:
    lab.open(0, process=ELSEWHERE)
    lab.task("a-1", 0, state="failed", error="job 17_1 ended as TIMEOUT")
    lab.there("a-1")
    assert lab.by_seed() == {0: ("killed", "n1")}


def test_the_time_that_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "HELD", 0.0)  # an epoch of no time waits for the next
    lab.open(0, epochs=1)  # of two
    status = lab.status()
    (run,) = status.runs
    assert run.logged is not None
    assert (run.logged.epoch, run.logged.epochs, run.share) == (1, 2, 0.5)
    assert run.logged.heard is not None
    paced = run.logged.heard - run.logged.began
    clock = run.logged.heard + paced / 2
    monkeypatch.setattr(time, "time", lambda: clock)
    assert lab.status().left == pytest.approx(paced / 2, abs=0.01)
    # With three more that wait, at the pace so far: half a run since the command began.
    write_asked([lab.config(seed) for seed in range(4)])
    monkeypatch.setattr(time, "time", lambda: clock + 10)
    (asked,) = read_asked(lab.root / "mlruns", lab.study)
    assert run.logged.began < asked.began
    # The run goes on from before: its epochs say nothing about the pace of this command.
    assert lab.status().left is None
    path = lab.asked
    path.write_text(path.read_text().replace(str(asked.began), str(clock - 10)))
    assert lab.status().left == pytest.approx(20 * 3.5 / 0.5, rel=0.01)


def test_nothing_is_asked_run_by_run(lab: Lab) -> None:
    for seed in range(5):
        lab.open(seed)
    calls: list[str] = []

    class Counting:
        """A client that counts its calls, and has pages of two runs."""

        def get_experiment_by_name(self, name: str) -> Any:
            calls.append("experiment")
            return lab.client.get_experiment_by_name(name)

        def search_runs(self, *arguments: Any, **how: Any) -> Any:
            calls.append("page")
            return lab.client.search_runs(*arguments, **how, max_results=2)

    found = study_status(Counting(), lab.root / "mlruns", lab.study, "adapterlab")
    assert found.count("going") == 5
    assert calls == ["experiment", "page", "page", "page"]  # with the study's own run


def test_a_study_that_is_not_there(lab: Lab, run_cli: Callable[..., Outcome]) -> None:
    lab.ended(0, "FINISHED")
    shown = run_cli(f"study={lab.study}s", program=status, root=lab.root)
    assert f"did you mean {lab.study}" in shown.error
    assert run_cli(f"study={lab.study}", program=status, root=lab.root).code == 0
    (lab.root / "mlruns" / "runs" / lab.study).mkdir(parents=True, exist_ok=True)
    shown = run_cli(f"study={lab.study}s", program=sync, root=lab.root)
    assert f"did you mean {lab.study}" in shown.error  # a mistyped study has not been delivered
    assert run_cli(f"study={lab.study}", program=sync, root=lab.root).code == 0
    assert run_cli("study=a/b", program=status, root=lab.root).code == USER_ERROR


def test_where_there_is_no_store(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    assert (
        run_cli("study=s", program=status).error
        == "study=s: there is no such study; there are: none"
    )
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()
    config = tiny(tmp_path, "study=s")
    RunFolder.of(config).path.mkdir(parents=True)
    assert "tracking=none" in run_cli("study=s", program=status).error
    write_asked([tiny(tmp_path, "study=t-tuning")])
    assert (
        run_cli("study=t", program=status).error
        == "study=t has no runs yet; those that tune it: study=t-tuning"
    )
    write_asked([config])  # before it has begun a run
    shown = run_cli("study=s", program=status)
    assert shown.code == UNDER_WAY
    assert "0 of 1 runs done" in shown.out


def test_each_command_has_a_list_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (tiny(tmp_path, "study=s", f"seed={seed}") for seed in range(3))

    def begin(name: str, process: str) -> None:
        monkeypatch.setenv(MULTIRUN_VARIABLE, f"1-{name}-{process}")
        monkeypatch.setattr(commands, "this_process", lambda: process)

    def asked() -> list[tuple[tuple[str, ...], bool]]:
        return [(one.runs, one.goes_on) for one in read_asked(tmp_path / "mlruns", "s")]

    write_asked([first])
    write_asked([second, first])  # a sweeper asks for more
    assert asked() == [(run_names([first, second]), True)]
    begin("b", own := this_process())
    with asked_for([third]):  # of another command beside it
        assert asked() == [(run_names([first, second]), True), (run_names([third]), True)]
    # The one that ended says nothing of the other, which goes on.
    assert asked() == [(run_names([first, second]), True), (run_names([third]), False)]
    # Of one of another host it is not known whether it has ended.
    begin("c", ELSEWHERE)
    write_asked([third])
    assert [goes_on for _, goes_on in asked()] == [True, False, True]
    begin("d", own)
    write_asked([second])
    assert [goes_on for _, goes_on in asked()] == [True, False, False, True]
    there = {host_of(ELSEWHERE)}
    known = read_asked(tmp_path / "mlruns", "s", there)  # a run is RUNNING there
    assert [one.goes_on for one in known] == [True, False, True, True]


def test_what_ended_commands_asked_for_is_forgotten_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (tiny(tmp_path, "study=s", f"seed={seed}") for seed in range(2))
    with asked_for([first]):
        pass
    monkeypatch.setenv(MULTIRUN_VARIABLE, f"1-b-{this_process()}")
    write_asked([second])
    (asked,) = read_asked(tmp_path / "mlruns", "s")
    assert asked.runs == run_names([second])


def test_runs_that_two_commands_wait_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    write_asked([lab.config(seed) for seed in (0, 1)])
    monkeypatch.setenv(MULTIRUN_VARIABLE, f"1-b-{this_process()}")
    with asked_for([lab.config(seed) for seed in (1, 2)]):
        assert {seed: status for seed, (status, _) in lab.by_seed().items()} == dict.fromkeys(
            range(3), "waiting"
        )
    waiting = {seed: status for seed, (status, _) in lab.by_seed().items()}
    assert waiting == {0: "waiting", 1: "waiting", 2: "not begun"}
