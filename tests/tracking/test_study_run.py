"""The MLflow run that stands for a study: RUNNING while its runs are, and how it ends."""

import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.interrupts import TERMINATED
from adapterlab.config.multirun import MULTIRUN_VARIABLE, begin_multirun
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking.client import connect
from adapterlab.tracking.commands_at_work import MULTIRUN_TAG
from adapterlab.tracking.mlflow_run import tracked
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.tracking.study_run import end_multirun, find_study_run, log_report
from faults import warm
from lab import TINY, Outcome, alone_in_a_fork, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = tuple(option for option in TINY if option != "tracking=none")


@pytest.fixture
def multirun(monkeypatch: pytest.MonkeyPatch) -> str:
    """A multirun that this process works for."""
    monkeypatch.setenv(MULTIRUN_VARIABLE, "")  # so that it is put back
    return begin_multirun()


def study_run(root: Path, study: str) -> Any:
    client = MlflowClient(default_uri(root / "mlruns"))
    return find_study_run(client, "adapterlab", study)


def carry_out(root: Path, study: str, seed: int = 0, error: Exception | None = None) -> None:
    """Open and end a run of a study, as training one does."""
    config = tiny(root, "tracking=mlflow", f"study={study}", f"seed={seed}")
    tags = {"study": study, "kind": "run"}
    with tracked(config, RunFolder.of(config).link, name=f"seed {seed}", tags=tags):
        assert study_run(root, study).info.status == "RUNNING"
        if error is not None:
            raise error


def end(root: Path, study: str, multirun: str, status: str = "FINISHED") -> Any:
    end_multirun(connect(None, root / "mlruns"), "adapterlab", study, multirun, status)
    return study_run(root, study)


def test_it_lasts_from_the_start_of_the_multirun_to_its_end(lab_root: Path, multirun: str) -> None:
    time.sleep(0.05)  # what a multirun does before its first run
    for seed in (0, 1):
        carry_out(lab_root, "lasts", seed)
        assert study_run(lab_root, "lasts").info.status == "RUNNING"
    before = time.time() * 1000
    run = end(lab_root, "lasts", multirun)
    assert run.info.status == "FINISHED"
    assert run.info.start_time == int(multirun.partition("-")[0])
    assert run.info.end_time >= int(before)
    tags = run.data.tags
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("adapterlab-train", "LOCAL")
    assert tags.get("mlflow.source.git.commit") == tags.get("git_commit", "").rstrip("+") or None
    assert (tags["kind"], tags[MULTIRUN_TAG]) == ("study", multirun)


def test_it_failed_where_runs_of_this_multirun_failed(lab_root: Path, multirun: str) -> None:
    with pytest.raises(AdapterLabError):
        carry_out(lab_root, "fails", error=AdapterLabError("diverged"))
    carry_out(lab_root, "fails", seed=1)
    carry_out(lab_root, "fares-well")
    assert end(lab_root, "fails", multirun).info.status == "FAILED"
    assert study_run(lab_root, "fares-well").info.status == "FINISHED"  # study=a,b in one sweep
    # The next one does better: what failed before it is in the report, not in the status.
    time.sleep(0.002)
    again = begin_multirun()
    carry_out(lab_root, "fails", seed=2)
    run = end(lab_root, "fails", again)
    assert run.info.status == "FINISHED"
    assert run.data.tags[MULTIRUN_TAG] == again


@pytest.mark.parametrize("status", ["KILLED", "FAILED"])
def test_it_ends_as_the_multirun_does(status: str, lab_root: Path, multirun: str) -> None:
    carry_out(lab_root, f"ends-{status}")
    assert end(lab_root, f"ends-{status}", multirun, status).info.status == status


def test_a_killed_process_is_mended_by_the_next_multirun(lab_root: Path, multirun: str) -> None:
    carry_out(lab_root, "killed-9")
    left = study_run(lab_root, "killed-9")  # nobody ends it
    assert left.info.status == "RUNNING"
    other = begin_multirun()
    end(lab_root, "another", other)
    assert study_run(lab_root, "killed-9").info.status == "RUNNING"  # it might be at work still
    # This one finds that all runs had finished, and opens none.
    mended = end(lab_root, "killed-9", other)
    assert (mended.info.run_id, mended.info.status) == (left.info.run_id, "FINISHED")


def test_runs_that_are_started_one_by_one(lab_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MULTIRUN_VARIABLE, raising=False)
    carry_out(lab_root, "one-by-one")
    first = study_run(lab_root, "one-by-one")
    assert first.info.status == "FINISHED"
    with pytest.raises(KeyboardInterrupt):
        carry_out(lab_root, "one-by-one", 1, error=KeyboardInterrupt())  # type: ignore[arg-type]
    assert study_run(lab_root, "one-by-one").info.status == "KILLED"
    with pytest.raises(RuntimeError):
        carry_out(lab_root, "one-by-one", 2, error=RuntimeError("no"))
    assert study_run(lab_root, "one-by-one").info.status == "FAILED"
    carry_out(lab_root, "one-by-one", 3)
    last = study_run(lab_root, "one-by-one")
    assert (last.info.run_id, last.info.status) == (first.info.run_id, "FINISHED")
    assert last.info.end_time > first.info.end_time


def test_a_multirun_makes_no_call_more_for_every_run(
    lab_root: Path, multirun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packs get no slower: the study's run is looked for once a process."""
    carry_out(lab_root, "cheap")
    calls: list[str] = []
    for name in ("search_runs", "update_run", "log_batch", "create_run", "set_terminated"):
        real = getattr(MlflowClient, name)

        def counted(self: Any, *args: Any, name: str = name, real: Any = real, **how: Any) -> Any:
            calls.append(name)
            return real(self, *args, **how)

        monkeypatch.setattr(MlflowClient, name, counted)
    config = tiny(lab_root, "tracking=mlflow", "study=cheap", "seed=1")
    tags = {"study": "cheap", "kind": "run"}
    with tracked(config, RunFolder.of(config).link, name="seed 1", tags=tags):
        pass
    # Parameters, of which MLflow takes a hundred at once, then the end.
    assert [name for name in calls if name != "log_batch"] == ["create_run", "set_terminated"]


@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_a_study_with_a_run_that_diverges(
    launcher: str, lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    study = f"diverges-{launcher}"
    sweep = ("adapter=full", "optimizer=sgd", "optimizer.lr=0.01,1e30", "base=scratch")
    options = [o for o in OPTIONS if not o.startswith(("base", "optimizer"))]
    how = ("-m", f"hydra/launcher={launcher}")
    outcome = run_cli(*how, *options, *sweep, f"study={study}", root=lab_root)
    assert outcome.code == 1, outcome
    assert study_run(lab_root, study).info.status == "FAILED"
    assert MULTIRUN_VARIABLE not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_a_multirun_that_is_terminated(launcher: str, tmp_path: Path) -> None:
    options = [option for option in OPTIONS if not option.startswith(("epochs", "base"))]
    sweep = ("seed=0,1", "epochs=100000", "study=stopped", "base=scratch")
    root = tmp_path / "root"
    root.mkdir()
    # The processes of test_resume.py and test_interrupts.py are real ones; to load takes seconds.
    command = ("-m", f"hydra/launcher={launcher}", *options, *sweep)
    process = warm.start(root, *command, before=alone_in_a_fork)
    try:
        runs = root / "mlruns" / "runs" / "stopped"
        deadline = time.monotonic() + 120
        while not any(runs.glob("*/mlflow_run_id")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert study_run(root, "stopped").info.status == "RUNNING"
        process.kill(signal.SIGTERM, group=False)
        assert process.ended(60).code == TERMINATED
    finally:
        if process.poll() is None:
            process.kill()
    run = study_run(root, "stopped")
    assert run.info.status == "KILLED"
    assert run.info.end_time - run.info.start_time > 100


def test_what_a_report_leaves_with_it(lab_root: Path, multirun: str, tmp_path: Path) -> None:
    carry_out(lab_root, "reported")
    client = connect(None, lab_root / "mlruns")
    (tmp_path / "report.html").touch()
    figures = {"runs": 1.0, "arms": 1.0, "best_accuracy": 0.5, "best_accuracy_low": 0.4}
    log_report(client, "reported", "adapterlab", tmp_path, ["a_b*: one.", "Two."], {}, figures)
    run = end(lab_root, "reported", multirun)
    assert run.data.metrics == {f"study/{name}": value for name, value in figures.items()}
    first, second = run.data.tags["mlflow.note.content"].split("  \n")
    page = f"runs/{run.info.run_id}/artifacts/report/report.html?workflowType=machine_learning"
    assert first.startswith("[Open the report](#/experiments/")
    assert first.endswith(rf"{page}): a\_b\*: one.")
    assert second == "Two."
    # A figure that a later report lacks does not stay as if it were that one's.
    del figures["best_accuracy_low"]
    log_report(client, "reported", "adapterlab", tmp_path, ["One."], {}, figures)
    metrics = study_run(lab_root, "reported").data.metrics
    assert math.isnan(metrics.pop("study/best_accuracy_low"))
    assert metrics == {f"study/{name}": value for name, value in figures.items()}


def test_two_multiruns_at_one_study_have_not_failed(lab_root: Path, multirun: str) -> None:
    time.sleep(0.002)
    carry_out(lab_root, "two-at-it", 0)
    other = begin_multirun()
    time.sleep(0.002)
    # The first ends while the second is at work, whose next run opens the study again.
    assert end(lab_root, "two-at-it", multirun).info.status == "FINISHED"
    carry_out(lab_root, "two-at-it", 1)
    assert end(lab_root, "two-at-it", other).info.status == "FINISHED"
