"""A cancelled study: what is at it ends, its runs are KILLED, what is out of reach is said."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from adapterlab.app.cancel_command import cancel
from adapterlab.base import process_identity
from adapterlab.base.errors import AdapterLabError
from adapterlab.base.process_identity import this_process
from adapterlab.studies.engines import Recalls, module_of
from adapterlab.studies.engines.clusters.submitit_jobs import _turn
from adapterlab.studies.status import cancelling
from adapterlab.studies.tasks.cancel_file import end_if_told
from adapterlab.studies.tasks.commands import write_asked
from adapterlab.studies.tasks.records import Record, read, write
from lab import Outcome
from study_lab import ELSEWHERE, Lab

Cancel = Callable[..., Outcome]


@pytest.fixture
def lab(lab_root: Path, request: pytest.FixtureRequest) -> Lab:
    return Lab(lab_root, f"cancel-{request.node.name.replace('_', '-')}")


@pytest.fixture
def cancelled(lab: Lab, run_cli: Callable[..., Outcome]) -> Cancel:
    def call(*more: str) -> Outcome:
        return run_cli(f"study={lab.study}", *more, program=cancel, root=lab.root)

    return call


@pytest.fixture
def another() -> Iterator[str]:
    """A process that does nothing, as it would name itself."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
    host, boot, _, _ = this_process().split("-")
    yield f"{host}-{boot}-{child.pid}-{process_identity._started(child.pid)}"
    child.kill()
    child.wait()


def status(lab: Lab, run_id: str) -> str:
    return str(lab.client.get_run(run_id).info.status)


def parent(lab: Lab) -> str:
    (own,) = lab.status().logged.own
    return str(own.info.status)


def test_a_command_of_this_machine(lab: Lab, another: str, cancelled: Cancel) -> None:
    write_asked([lab.config(seed) for seed in range(3)])
    path = lab.asked
    path.write_text(path.read_text().replace(this_process(), another))
    finished, open_run = lab.ended(0, "FINISHED"), lab.open(1, process=another)
    lab.open_parent()
    said = cancelled()
    assert said.code == 0, said
    assert f"ended: the command, process {another.split('-')[2]}" in said.out
    assert "1 run ended; 1 done, 1 killed, 1 not begun" in said.out
    assert (status(lab, finished), status(lab, open_run)) == ("FINISHED", "KILLED")
    assert parent(lab) == "KILLED"
    again = cancelled()
    assert again.code == 0
    assert "nothing of it is under way (1 done, 1 killed, 1 not begun)" in again.out


def test_a_finished_study_stays_as_it_is(lab: Lab, cancelled: Cancel) -> None:
    lab.ended(0, "FINISHED")
    before = parent(lab)
    said = cancelled()
    assert (said.code, parent(lab)) == (0, before)
    assert "nothing of it is under way (1 done)" in said.out
    write_asked([lab.config(0)])  # this process goes on, as a notebook does: it has done all
    assert cancelled().code == 0


def test_a_command_that_was_killed(lab: Lab, another: str, cancelled: Cancel) -> None:
    gone = another.rpartition("-")[0] + "-1"
    run_id = lab.open(0, process=gone)
    lab.open_parent()
    said = cancelled()
    assert (said.code, status(lab, run_id), parent(lab)) == (0, "KILLED", "KILLED")
    assert "1 run ended; 1 killed" in said.out


def test_what_is_out_of_reach_is_said(lab: Lab, cancelled: Cancel) -> None:
    run_id = lab.open(0, process=ELSEWHERE)
    lab.open_parent()
    said = cancelled()
    assert (said.code, status(lab, run_id), parent(lab)) == (1, "RUNNING", "RUNNING")
    assert "error: not ended: run seed 0: its process cannot be reached from here" in said.err
    said = cancelled("force=true")
    assert (status(lab, run_id), parent(lab)) == ("KILLED", "KILLED")
    assert said.code == 0


class Cluster:
    """An engine whose tasks are reached by their records, but for one."""

    def __init__(self) -> None:
        self.open, self.ended = {"a-1", "a-2", "a-3"}, list[str]()
        self.looks = 0

    def require_reach(self, record: Record) -> None:
        if record.id == "a-3":
            raise AdapterLabError("it is behind the hill")

    def open_recorded(self, records: Sequence[Record]) -> set[str]:
        self.looks += 1
        if self.looks > 2:
            self.open -= set(self.ended)
        return self.open & {one.id for one in records}

    def end_recorded(self, record: Record) -> None:
        self.ended.append(record.id)


def test_tasks_of_a_cluster(lab: Lab, cancelled: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    assert isinstance(cluster, Recalls)
    monkeypatch.setattr(cancelling, "module_of", lambda name: cluster)
    monkeypatch.setattr(cancelling, "_ASK_SECONDS", 0.01)
    lab.task("a-1", 0, state="going")
    lab.there("a-1")
    run_id = lab.open(0, process=ELSEWHERE)  # it was killed before it could mark its run
    lab.task("a-2", 1)
    lab.task("a-3", 2)
    lab.task("a-4", 3, state="done")
    said = cancelled()
    assert said.code == 1
    assert cluster.ended == ["a-1", "a-2"]
    assert "it is behind the hill" in said.err
    states = {id: record.state for id in ("a-1", "a-2", "a-3", "a-4")
              if (record := read(lab.tasks, id)) is not None}  # fmt: skip
    assert states == {"a-1": "cancelled", "a-2": "cancelled", "a-3": "waiting", "a-4": "done"}
    assert status(lab, run_id) == "KILLED"


def test_the_command_that_waits_ends_first(lab: Lab, cancelled: Cancel) -> None:
    """On whichever machine: it would submit again what ends under it."""
    record = lab.task("a-1", 0)
    begun, ended = threading.Event(), list[Any]()

    def command() -> None:
        with FileLock(lab.tasks / ".lock"):
            begun.set()
            try:
                while True:
                    end_if_told(lab.tasks)
                    time.sleep(0.02)
            except SystemExit as stop:
                ended.append(stop.code)
                write(lab.tasks, cancelling.replace(record, state="cancelled"))

    thread = threading.Thread(target=command)
    thread.start()
    assert begun.wait(10)
    said = cancelled()
    thread.join(10)
    assert (said.code, ended) == (0, [143])
    assert "ended: the command that waits for the tasks" in said.out
    end_if_told(lab.tasks)  # the next command has not been told


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"job": None}, "before it had written down"),
        ({"cluster": None}, "of which cluster"),
        ({"cluster": "local", "command": ELSEWHERE}, "process 17 is of another machine"),
        ({"cluster": "slurm"}, "no `scancel` on PATH"),
    ],
)
def test_jobs_of_submitit_that_are_out_of_reach(
    more: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    record = Record(**{"id": "a", "engine": "submitit", "job": "17", "runs": ("r",), "packed": True,
                       "state": "going", "submitted": 1.0, "cluster": "local"} | more)  # fmt: skip
    module = module_of("submitit")
    assert isinstance(module, Recalls)
    with pytest.raises(AdapterLabError, match=why):
        module.require_reach(record)


def test_a_number_that_is_another_process_is_left_alone(another: str) -> None:
    module = module_of("submitit")
    assert isinstance(module, Recalls)
    job = another.split("-")[2]
    record = Record("a", "submitit", job, ("r",), True, "going", 1.0, cluster="local")
    assert module.open_recorded([record]) == set()
    module.end_recorded(record)
    time.sleep(0.1)
    assert not process_identity.is_gone(another)


def test_a_job_that_waits_for_its_turn_ends_by_sigterm(tmp_path: Path) -> None:
    """As submitit has it: its own handler for the signal would let it wait on."""
    bypassed = signal.signal(signal.SIGTERM, lambda number, frame: None)
    timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM])
    try:
        with FileLock(tmp_path / ".turn-0.lock"):
            timer.start()
            with pytest.raises(SystemExit, match="143"), _turn(tmp_path, 1):
                pytest.fail("it has had its turn")
        handler = signal.getsignal(signal.SIGTERM)
        with _turn(tmp_path, 1):
            assert signal.getsignal(signal.SIGTERM) is handler
            with pytest.raises(Timeout):
                FileLock(tmp_path / ".turn-0.lock").acquire(timeout=0)
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, bypassed)
