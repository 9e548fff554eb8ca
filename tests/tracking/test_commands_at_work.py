"""A study is RUNNING while any command is at it, and ends as all of them did together."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base import process_identity
from adapterlab.base.process_identity import PROCESS_TAG, this_process
from adapterlab.runs.folders.abandoned import bury_of_study
from adapterlab.tracking import commands_at_work
from adapterlab.tracking.client import connect
from adapterlab.tracking.commands_at_work import PREFIX, at_work
from adapterlab.tracking.servers.delivery import end_run
from adapterlab.tracking.study_run import PARENT, end_multirun, open_study_run
from adapterlab.tracking.study_runs import study_runs
from adapterlab.tracking.tuning_tags import PRUNED, trial

NUMBER = count()

HOST, BOOT, *_ = this_process().split("-")
ELSEWHERE = "0badcafe-0badcafe"


class Study:
    """A study that several processes are at, all of them made up."""

    def __init__(self, root: Path, alive: set[int]) -> None:
        self.root, self.alive = root, alive
        self.client: Any = connect(None, root / "mlruns")
        self.name = f"commands-{next(NUMBER)}"
        self.experiment = self.client.create_experiment(self.name)
        self.lock = root / "a.lock"

    def begin(self, process: int, host: str = f"{HOST}-{BOOT}") -> str:
        time.sleep(0.002)
        self.alive.add(process)
        name = f"{time.time_ns() // 1_000_000}-{process}hex-{host}-{process}-1"
        self.id = open_study_run(self.client, self.experiment, self.name, self.lock, name)
        return name

    def end(self, multirun: str, status: str = "FINISHED") -> str:
        end_multirun(self.client, self.name, self.name, multirun, status)
        self.alive.discard(int(multirun.split("-")[-2]))
        return self.status

    def run(self, status: str = "RUNNING", process: str | None = None) -> str:
        tags = {"study": self.name, "kind": "run", PARENT: self.id}
        if process is not None:
            tags[PROCESS_TAG] = process
        run_id = str(self.client.create_run(self.experiment, tags=tags).info.run_id)
        if status != "RUNNING":
            self.client.set_terminated(run_id, status)
        return run_id

    def report(self) -> str:
        bury_of_study(self.client, self.root / "mlruns", self.name, self.name)
        return self.status

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.client.get_run(self.id).data.tags)

    @property
    def status(self) -> str:
        return str(self.client.get_run(self.id).info.status)


@pytest.fixture
def study(lab_root: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    alive: set[int] = set()
    real = process_identity._started

    def started(number: int) -> int | None:
        return (1 if number in alive else None) if number < 100 else real(number)

    monkeypatch.setattr(process_identity, "_started", started)
    return Study(lab_root, alive)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        (("FINISHED", "FINISHED"), "FINISHED"),
        (("FAILED", "FINISHED"), "FAILED"),
        (("FINISHED", "KILLED"), "KILLED"),
        (("KILLED", "FAILED"), "FAILED"),
    ],
)
def test_it_is_running_until_the_last_has_ended(
    first: int, statuses: tuple[str, str], together: str, study: Study
) -> None:
    names = [study.begin(process) for process in (11, 12)]
    assert len(study_runs(study.client, study.name, study.name).multiruns) == 2
    assert study.end(names[first], statuses[first]) == "RUNNING"
    (going,) = at_work(study.tags)
    assert going.name == names[1 - first]
    assert study_runs(study.client, study.name, study.name).multirun == (
        going.began / 1000,
        going.process,
    )
    assert study.report() == "RUNNING"
    assert study.end(names[1 - first], statuses[1 - first]) == together
    assert not any(key.startswith(PREFIX) for key in study.tags)


def test_what_failed_while_the_other_had_not_begun_counts(study: Study) -> None:
    one = study.begin(11)
    study.run("FAILED")
    other = study.begin(12)
    assert study.end(one) == "RUNNING"
    assert study.end(other) == "FAILED"
    assert study.end(study.begin(13)) == "FINISHED"  # what failed before it is in the report


def test_what_a_pruner_has_stopped_has_not_failed(study: Study) -> None:
    one = study.begin(11)
    pruned = study.run("KILLED")
    study.client.set_tag(pruned, trial(PRUNED), "median after epoch 1 of 6")
    assert study.end(one) == "FINISHED"
    other = study.begin(12)
    study.run("KILLED")
    assert study.end(other) == "FAILED"


def test_one_that_was_killed_holds_up_nobody(study: Study) -> None:
    killed, other = study.begin(11), study.begin(12)
    study.alive.discard(11)
    assert killed.split("-")[1] in str(study.tags)
    assert study.report() == "RUNNING"
    assert study.end(other) == "FINISHED"
    alone = study.begin(14)
    study.alive.discard(14)
    assert alone
    assert study.report() == "KILLED"


def test_the_last_of_two_is_killed_and_a_report_says_how_the_first_ended(study: Study) -> None:
    one, other = study.begin(11), study.begin(12)
    assert study.end(one, "FAILED") == "RUNNING"
    study.alive.discard(12)
    assert other
    assert study.report() == "FAILED"


def test_runs_that_are_started_one_by_one_at_the_same_time(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {}
    for process in (11, 12):
        name = f"{HOST}-{BOOT}-{process}-1"
        study.alive.add(process)
        monkeypatch.setattr(commands_at_work, "this_process", lambda name=name: name)
        lock = study.lock
        study.id = open_study_run(study.client, study.experiment, study.name, lock, None)
        runs[process] = study.run("RUNNING", name)
    now = int(time.time() * 1000)
    end_run(study.client, runs[11], study.id, "FAILED", "no", now)
    assert study.status == "RUNNING"
    assert study.client.get_run(runs[11]).info.status == "FAILED"
    study.alive.discard(11)
    end_run(study.client, runs[12], study.id, "FINISHED", None, now + 1)
    assert study.status == "FAILED"
    assert study.client.get_run(study.id).info.end_time == now + 1


def test_one_of_another_host_counts_while_its_runs_go_on(study: Study) -> None:
    study.begin(21, ELSEWHERE)
    going = study.run("RUNNING", f"{ELSEWHERE}-21-1")
    here = study.begin(11)
    assert study.end(here) == "RUNNING"
    study.client.set_terminated(going)  # and then somebody killed it there
    assert study.end(study.begin(12)) == "FINISHED"


def test_one_that_begins_while_another_ends_is_seen(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, late = study.begin(11), list[str]()
    real: Callable[..., None] = MlflowClient.set_terminated

    def terminated(client: Any, run_id: str, *how: Any) -> None:
        if not late:
            late.append(study.begin(12))  # it found the run RUNNING
        real(client, run_id, *how)

    monkeypatch.setattr(MlflowClient, "set_terminated", terminated)
    assert study.end(one) == "RUNNING"
    assert study.end(late[0]) == "FINISHED"
