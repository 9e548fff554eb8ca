"""Runs whose process is gone: whoever meets them next says so in MLflow, and in no other's name."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.app import cli
from adapterlab.base.process_identity import (
    PROCESS_TAG,
    is_elsewhere,
    is_gone,
    may_be_at_work,
    this_process,
)
from adapterlab.runs import single
from adapterlab.runs.folders.abandoned import bury_of_study
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.lifecycle import OpenRun
from adapterlab.tracking.client import connect
from adapterlab.tracking.link import RunLink
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.tracking.trackers import MLflowTracker
from lab import Outcome, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = ("base=scratch", "adapter=head", "limit=32", "tracking=mlflow", "baseline=never")


class Killed(BaseException):
    """The process is no more: nothing that it would still do is done."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a run's process die when it comes to a method, and leave MLflow as it was then."""

    def at(owner: type, name: str, after: bool = False) -> None:
        real = getattr(owner, name)

        def dies(*arguments: Any, **options: Any) -> None:
            if after:
                real(*arguments, **options)
            raise Killed

        monkeypatch.setattr(owner, name, dies)
        monkeypatch.setattr(MLflowTracker, "end", lambda *_, **__: None)

    return at


def client_of(root: Path) -> Any:
    return MlflowClient(default_uri(root / "mlruns"))


@contextmanager
def other_process() -> Iterator[str]:
    """Yield what a process wrote of itself that goes on meanwhile."""
    code = (
        "from adapterlab.base.process_identity import this_process\n"
        "print(this_process(), flush=True); input()"
    )
    source = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-c", code], text=True, env=os.environ | {"PYTHONPATH": source},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def gone_process() -> str:
    """Return what a process wrote of itself that has ended."""
    with other_process() as process:
        pass
    return process


def test_a_process_is_gone_only_where_that_is_known() -> None:
    me, gone = this_process(), gone_process()
    assert not is_gone(me)
    assert is_gone(gone)
    host, boot, number, start = me.split("-")
    assert is_gone(f"{host}-{boot}-{number}-{int(start) + 1}")  # the number was given anew
    gone_host, gone_boot, *rest = gone.split("-")
    for other in (f"{'0' * 8}-{gone_boot}", f"{gone_host}-{'0' * 8}"):
        assert not is_gone("-".join([other, *rest]))
    assert is_elsewhere("-".join(["0" * 8, gone_boot, *rest]))
    assert not is_elsewhere(gone)
    for unknown in (None, "", "nonsense"):
        assert not is_gone(unknown)
        assert not is_elsewhere(unknown)
        assert not may_be_at_work(unknown)
    for taken_up in (me, gone, f"{host}-{'0' * 8}-{number}-{start}"):  # of before a restart
        assert not may_be_at_work(taken_up)
    assert may_be_at_work("-".join(["0" * 8, gone_boot, *rest]))
    with other_process() as going:
        assert may_be_at_work(going)


def test_a_report_ends_runs_whose_process_is_gone(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    study = "lost-and-found"
    options = ("hardware=cpu", "hardware.threads=1", "epochs=1", "report=false")
    assert run_cli(*OPTIONS, *options, f"study={study}", root=lab_root).code == 0
    client = client_of(lab_root)
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    gone = gone_process()
    ours = {"study": study, "kind": "run", "arm": "a", "seed": "7"}
    made = {
        name: client.create_run(experiment, tags={**ours, **tags}).info.run_id
        for name, tags in {
            "gone": {PROCESS_TAG: gone, "config_hash": "1"},
            "alive": {PROCESS_TAG: this_process(), "config_hash": "2"},
            "elsewhere": {PROCESS_TAG: f"{'0' * 8}-{'0' * 8}-1-1", "config_hash": "3"},
            "older": {"config_hash": "4"},
            "rebooted": {PROCESS_TAG: gone.replace(gone.split("-")[1], "0" * 8)},
        }.items()
    }
    # What process ids do not tell any more, the lock of a folder does.
    folder = RunFolder(lab_root / "mlruns" / "runs" / study / "rebooted")
    folder.link.expect()
    folder.link.remember(made["rebooted"])
    with folder.lock(wait=False):
        bury_of_study(connect(None, lab_root / "mlruns"), lab_root / "mlruns", study, "adapterlab")
        assert client.get_run(made["rebooted"]).info.status == "RUNNING"
    assert run_cli(f"study={study}", program=cli.report, root=lab_root).code == 0
    status = {name: client.get_run(run_id).info.status for name, run_id in made.items()}
    assert status == {
        "gone": "KILLED",
        "rebooted": "KILLED",
        "alive": "RUNNING",
        "elsewhere": "RUNNING",
        "older": "RUNNING",
    }
    lost = client.get_run(made["gone"]).info
    assert lost.end_time == lost.start_time  # when it was last heard of


@pytest.mark.parametrize("where", ["training", "before its id is known"])
def test_training_anew_ends_what_was_left_running(
    where: str, lab_root: Path, killed_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(lab_root, *OPTIONS, f"study=anew-{where[:3]}")
    folder = RunFolder.of(config)
    with monkeypatch.context() as patch:
        if where == "training":
            killed_at(OpenRun, "report", after=True)
        else:
            patch.setattr(RunLink, "remember", lambda *_: (_ for _ in ()).throw(Killed))
            # As a server does, which has each call for itself.
            patch.setattr("adapterlab.tracking.mlflow_run.at_once", lambda _, work: work())
        with pytest.raises(Killed):
            single.run(config)
    monkeypatch.undo()
    client = client_of(lab_root)
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    query = f"tags.study = '{config.study}' and tags.kind = 'run'"
    (left,) = client.search_runs([experiment], query)
    assert left.info.status == "RUNNING"
    assert folder.link.is_lost() == (where != "training")
    result = single.run(config)
    assert client.get_run(left.info.run_id).info.status == "KILLED"
    assert client.get_run(str(result.run_id)).info.status == "FINISHED"
    assert len(client.search_runs([experiment], query)) == 2


@pytest.mark.parametrize("resume", [True, False])
def test_roots_that_share_a_store_leave_each_others_runs_alone(
    resume: bool,
    lab_root: Path,
    tmp_path: Path,
    killed_at: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lock of a run's folder says nothing of another root; the process at work on it does."""
    store = f"tracking.uri={default_uri(lab_root / 'mlruns')}"
    options = (*OPTIONS, f"study=roots-{resume}", f"resume={str(resume).lower()}", store)
    killed_at(OpenRun, "report", after=True)
    with pytest.raises(Killed):
        single.run(tiny(tmp_path / "first", *options))
    monkeypatch.undo()
    client = client_of(lab_root)
    (left,) = client.search_runs(
        [client.get_experiment_by_name("adapterlab").experiment_id],
        f"tags.study = 'roots-{resume}' and tags.kind = 'run'",
    )

    def by_another_root(name: str) -> str:
        config = tiny(tmp_path / name, *options)
        RunFolder.of(config).link.expect()  # killed before it knew the id of its MLflow run
        return str(single.run(config).run_id)

    with other_process() as process:
        client.set_tag(left.info.run_id, PROCESS_TAG, process)
        assert by_another_root("second") != left.info.run_id
        found = client.get_run(left.info.run_id)
        assert (found.info.status, found.data.tags[PROCESS_TAG]) == ("RUNNING", process)
    same = by_another_root("third") == left.info.run_id
    assert same == resume
    assert client.get_run(left.info.run_id).info.status == ("FINISHED" if resume else "KILLED")


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_run_killed_between_its_result_and_its_end_is_cleaned_up(
    step: str, lab_root: Path, killed_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(lab_root, *OPTIONS, f"study=result-{step}", "resume=true")
    folder = RunFolder.of(config)
    if step == "before":
        killed_at(RunFolder, "finish", after=True)
    else:
        killed_at(RunFolder, "drop_checkpoints")
    with pytest.raises(Killed):
        single.run(config)
    monkeypatch.undo()
    result = folder.finished()
    assert result is not None
    assert folder.checkpoints.is_dir()
    client = client_of(lab_root)
    assert client.get_run(str(result.run_id)).info.status == "RUNNING"
    assert single.run(config) == result
    assert not folder.checkpoints.exists()
    run = client.get_run(str(result.run_id))
    assert run.info.status == "FINISHED"
    assert run.data.metrics.items() >= result.metrics.items()
    for name in ("train/loss", "val/accuracy"):
        points = client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == list(result.history)
    assert len(client.get_metric_history(run.info.run_id, "test/accuracy")) == 1
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "result.json", "adapter", "predictions"} <= files


def test_a_study_without_a_name_is_named_by_its_options(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    options = ("hardware=cpu", "hardware.threads=1", "epochs=1", "report=false", "seed=0,1")
    mlruns = lab_root / "mlruns" / "runs"
    before = {path.name for path in mlruns.iterdir()} if mlruns.is_dir() else set()
    for launcher in (["basic"], ["packed", "hydra.launcher.processes=1"]):
        chosen = (f"hydra/launcher={launcher[0]}", *launcher[1:])
        outcome = run_cli("-m", *OPTIONS, *options, "study=null", *chosen, root=lab_root)
        assert outcome.code == 0, outcome
    named = {path.name for path in mlruns.iterdir()} - before
    assert len(named) == 1  # the launcher is no part of what it is
    (study,) = named
    assert study.startswith("seed-")
    assert len(list((mlruns / study).iterdir())) == 2
    # conf/experiment is a folder of Hydra's: the option of the report is MLflow's.
    for written in ("experiment=adapterlab", "+experiment=adapterlab", "++experiment=adapterlab"):
        outcome = run_cli(f"study={study}", written, program=cli.report, root=lab_root)
        assert outcome.code == 0, outcome
