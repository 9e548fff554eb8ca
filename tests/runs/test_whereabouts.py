"""Runs that MLflow shows as RUNNING: a report says which are, and where that is not known."""

import errno
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapterlab.app import cli
from adapterlab.base.process_identity import DIED, PROCESS_TAG, this_process
from adapterlab.reporting.reading.runs import Status
from adapterlab.reporting.reading.stored import read_runs
from adapterlab.runs.folders.abandoned import whereabouts
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking.client import connect
from lab import Outcome

HOST, BOOT, NUMBER, STARTED = this_process().split("-")
GONE = f"{HOST}-{BOOT}-{NUMBER}-{int(STARTED) + 1}"
REBOOTED = f"{HOST}-{'0' * 8}-{NUMBER}-{STARTED}"
ELSEWHERE = f"{'0' * 8}-{BOOT}-{NUMBER}-{STARTED}"

HERE = f"by process {os.getpid()} of this machine"
HELD = "by a process that holds its folder"
THERE = "on another host, unless its process has died there"
UNSAID = "unless its process has died: it has not said which that is"
BEFORE = "unless its process has died: it is of another container, or of before a restart"


@pytest.mark.parametrize(
    ("process", "without", "free", "held", "unwritable"),
    [
        (this_process(), HERE, HERE, HERE, HERE),
        (GONE, DIED, DIED, DIED, DIED),
        (ELSEWHERE, THERE, THERE, HELD, THERE),
        (REBOOTED, BEFORE, DIED, HELD, BEFORE),
        (None, UNSAID, DIED, HELD, UNSAID),
    ],
    ids=["here", "gone", "elsewhere", "rebooted", "unsaid"],  # the same in every process of tests
)
def test_what_process_and_lock_tell(
    process: str | None,
    without: str,
    free: str,
    held: str,
    unwritable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said() -> str:
        return whereabouts(tmp_path, "s", {"1": process})["1"]

    assert said() == without
    folder = RunFolder(tmp_path / "runs" / "s" / "one")
    folder.link.expect()
    folder.link.remember("1")
    assert said() == free
    with folder.lock(wait=False):
        assert said() == held

    @contextmanager
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")
        yield

    monkeypatch.setattr(RunFolder, "lock", refused)
    assert said() == unwritable


def test_a_report_says_it_of_each_and_reads_a_store_that_cannot_be_written(
    tmp_path: Path, run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(None, tmp_path / "mlruns")
    experiment = client.create_experiment("adapterlab")
    for seed, (arm, process) in enumerate(
        {"a": None, "b": this_process(), "c": ELSEWHERE, "d": GONE}.items()
    ):
        tags = {"study": "s", "kind": "run", "arm": arm, "seed": str(seed), "strategy": arm}
        if process is not None:
            tags[PROCESS_TAG] = process
        run_id = client.create_run(experiment, tags=tags).info.run_id
        client.log_param(run_id, "adapter.name", arm)
        if arm == "a":
            client.log_metric(run_id, "test/accuracy", 0.5)
            client.log_metric(run_id, "best/val_accuracy", 0.5)
            client.set_terminated(run_id)

    def refuse(*_: Any) -> None:
        raise RuntimeError("attempt to write a readonly database")

    with monkeypatch.context() as patch:
        patch.setattr("adapterlab.runs.folders.abandoned.bury", refuse)
        outcome = run_cli("study=s", program=cli.report)
    assert outcome.code == 0, outcome
    assert "the store is read-only: that the process of a run has died is not kept" in outcome.err
    said = " ".join(outcome.out.split())
    assert f"note: b: running: {HERE}" in said
    assert f"note: c: running: {THERE}" in said
    assert f"note: d: killed: {DIED}" in said
    by_arm = {run.arm: run for run in read_runs(client, "s", "adapterlab")}
    assert [by_arm[arm].status for arm in "abcd"] == [
        Status.FINISHED,
        Status.RUNNING,
        Status.RUNNING,
        Status.KILLED,
    ]
    assert run_cli("study=s", program=cli.report).code == 0
    assert client.get_run(by_arm["d"].run_id).info.status == "KILLED"
