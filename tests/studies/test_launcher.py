"""Studies from the command line: the same runs, whichever launcher carries them out."""

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.app.callback import study_name
from adapterlab.app.started_studies import started
from adapterlab.base.errors import USER_ERROR, RunLostError
from adapterlab.base.process_identity import PROCESS_TAG
from adapterlab.config.multirun import STUDY_VARIABLE
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.studies.engines.local import LocalEngine
from adapterlab.studies.tasks import execution
from adapterlab.studies.tasks.engine import Task
from adapterlab.tracking.mlflow_run import mark_lost, tracked
from adapterlab.tracking.stores.uris import default_uri
from faults import warm
from lab import TINY, Outcome, alone_in_a_fork, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = tuple(option for option in TINY if option != "tracking=none")
PACKED = ("-m", "hydra/launcher=packed", "hydra.launcher.processes=1")
SWEEP = ("adapter=lora,dora", "adapter.rank=1,2", "seed=0,1")


def children(root: Path, study: str) -> list[Any]:
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    return list(client.search_runs([experiment], f"tags.study = '{study}'"))


def left_by(root: Path, study: str) -> dict[str, dict[str, float]]:
    """Return the metrics of a study's runs by the names of their folders."""
    found = {}
    for path in (root / "mlruns" / "runs" / study).iterdir():
        metrics = json.loads((path / "result.json").read_text())["metrics"]
        found[path.name] = {k: v for k, v in metrics.items() if not k.startswith("cost/")}
    return found


def test_all_launchers_do_the_same_runs(lab_root: Path, run_cli: Callable[..., Outcome]) -> None:
    launchers = {
        "basic": ["-m"],
        "packed": [*PACKED],
        "joblib": ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    }
    tables, runs = {}, {}
    for name, launcher in launchers.items():
        study = f"by-{name}"
        outcome = run_cli(*launcher, *OPTIONS, *SWEEP, f"study={study}", root=lab_root)
        assert outcome.code == 0, outcome
        runs[name] = left_by(lab_root, study)
        found = children(lab_root, study)
        (parent,) = [run for run in found if run.data.tags["kind"] == "study"]
        own = [run for run in found if run is not parent]
        assert len(own) == 8
        assert {run.data.tags["mlflow.parentRunId"] for run in own} == {parent.info.run_id}
        assert {run.info.status for run in found} == {"FINISHED"}
        assert parent.info.start_time < min(run.info.start_time for run in own)
        assert parent.info.end_time >= max(run.info.end_time for run in own)
        title, _, table = outcome.out.partition(f"Study {study}")
        assert len(re.findall(r"accuracy \d+\.\d+% on the test split", title)) in (8, 0)
        arms = re.findall(r"│ ((?:lora|dora) rank=\d) [^\n]*│ +(\d) │ +([\d.]+%)", table)
        tables[name] = sorted(arms)
    assert len(tables["basic"]) == 4
    assert tables["basic"] == tables["packed"] == tables["joblib"]
    for name in ("packed", "joblib"):
        assert runs[name].keys() == runs["basic"].keys()
        for folder, metrics in runs["basic"].items():
            assert runs[name][folder] == pytest.approx(metrics, rel=1e-4, abs=1e-6)


def test_what_is_packed_and_what_is_not_is_said(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    sweep = ["adapter=lora,dora,head", "seed=0,1", "optimizer.schedule=constant", "study=said"]
    outcome = run_cli(*PACKED, *OPTIONS, *sweep, "tracking=none", root=lab_root)
    for pack in ("a pack of 4: lora and dora on", "a pack of 2: head on"):
        assert f"{pack} one frozen base" in outcome.err
    outcome = run_cli(
        *PACKED, *OPTIONS, *sweep, "tracking=none", "pack=never", "resume=true", root=lab_root
    )
    assert "6 runs had finished" in outcome.err
    outcome = run_cli(
        *PACKED, *OPTIONS, *sweep, "tracking=none", "pack=never", "epochs=1", root=lab_root
    )
    assert "6 one by one: pack=never" in outcome.err


def test_a_plan_trains_nothing(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli(*PACKED, *OPTIONS, *SWEEP, "study=planned", "plan=true", root=tmp_path)
    assert outcome.code == 0
    assert outcome.err == ""
    assert "What is trained together" in outcome.out
    assert "adapter=dora adapter.rank=2 seed=1" in outcome.out
    assert "MiB" in outcome.out
    assert not (tmp_path / "mlruns" / "runs").exists()
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()


@pytest.mark.parametrize("task", ["task=single_label", "task=regression"])
def test_a_plan_looks_for_the_users_own_data(
    task: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    """Also where it would need none: a number is one output, whatever the texts are."""
    own = ("dataset=text_files", "dataset.loader.path=nowhere/texts", "model=bert_tiny")
    outcome = run_cli(*PACKED, *own, task, "adapter=lora,head", "plan=true", root=tmp_path)
    assert outcome.code == USER_ERROR
    assert outcome.error.startswith("no file or folder nowhere/texts; looked at ")


def test_packs_of_16_are_split_for_processes_that_were_asked_for(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    whole = (*("-m", "hydra/launcher=packed", "plan=true"), *OPTIONS, "seed=range(16)")
    assert "part 1 of 2" not in run_cli(*whole, root=tmp_path).out
    parts = run_cli(*whole, "hydra.launcher.processes=2", root=tmp_path).out
    assert parts.count("lora on one frozen base, part") == 2


def test_a_mistake_in_any_job_stops_before_training(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    outcome = run_cli(*PACKED, *OPTIONS, "adapter.rank=1,0", root=tmp_path)
    assert outcome.error.startswith("adapter.rank=0 must be 1 or more")
    assert not (tmp_path / "mlruns" / "runs").exists()


def test_a_failed_run_does_not_end_the_study(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    outcome = run_cli(
        *PACKED, *OPTIONS, "adapter=full", "optimizer=sgd", "optimizer.lr=0.1,1e30", "seed=0,1",
        "study=half", root=lab_root,
    )  # fmt: skip
    assert outcome.code == 1
    assert outcome.err.count("failed: ") == 2
    assert "error: train/loss is nan in epoch 1" in outcome.err
    assert "Traceback" not in outcome.err
    assert "│ full" in outcome.out  # the table is printed all the same
    states = [run.info.status for run in children(lab_root, "half")]
    assert sorted(states) == ["FAILED"] * 3 + ["FINISHED"] * 2  # the study's own run as well
    again = run_cli(
        *PACKED, *OPTIONS, "adapter=full", "optimizer=sgd", "optimizer.lr=0.1,1e30", "seed=0,1",
        "study=half", "resume=true", root=lab_root,
    )  # fmt: skip
    assert "2 runs had finished" in again.err
    assert again.err.count("failed: ") == 2
    assert len(children(lab_root, "half")) == 5


def test_a_run_that_is_asked_for_twice_is_carried_out_once(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    outcome = run_cli(*PACKED, *OPTIONS, "seed=0,0,1", "study=double", root=lab_root)
    assert outcome.code == 0, outcome
    assert "a pack of 2" in outcome.err
    assert len(children(lab_root, "double")) == 3


def test_the_optuna_sweeper_gets_its_values(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    """A batch of trials is a pack."""
    options = [option for option in OPTIONS if not option.startswith("optimizer.lr")]
    outcome = run_cli(
        *PACKED, *options, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=6",
        "hydra.sweeper.n_jobs=3", "hydra.sweeper.direction=maximize",
        "hydra.sweeper.sampler.seed=1", "adapter.rank=choice(1,2,4,8)",
        "optimizer.lr=tag(log, interval(1e-4, 1e-1))", "study=optuna", root=lab_root,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert outcome.err.count("a pack of 3") == 2
    (written,) = (lab_root / "mlruns" / "sweeps").rglob("optimization_results.yaml")
    best = re.search(r"best_value: ([\d.]+)", written.read_text())
    assert best is not None
    finished = [run for run in children(lab_root, "optuna") if run.data.tags["kind"] == "run"]
    values = [run.data.metrics["best/val_accuracy"] for run in finished]
    assert float(best[1]) == pytest.approx(max(values))


def test_a_study_is_named_by_what_it_varies() -> None:
    name = study_name(["adapter=lora,dora", "adapter.rank=1,4", "epochs=3"])
    assert re.fullmatch(r"adapter-rank-[0-9a-f]{8}", name)
    # Neither the order nor what changes no result matters.
    assert name == study_name(
        ["epochs=3", "adapter.rank=1,4", "adapter=lora,dora", "resume=true", "hardware.threads=1"]
    ).replace("rank-adapter", "adapter-rank")
    assert name != study_name(["adapter=lora,dora", "adapter.rank=1,8", "epochs=3"])
    assert re.fullmatch(r"study-[0-9a-f]{8}", study_name([]))


def test_a_study_without_a_name_is_found_again(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    sweep = [*OPTIONS, "adapter=head", "optimizer.lr=0.1,0.2", "label_smoothing=0.125"]
    first = run_cli(*PACKED, *sweep, root=lab_root)
    (name,) = re.findall(r"Study (lr-[0-9a-f]{8})", first.out)
    again = run_cli("-m", *sweep, "resume=true", root=lab_root)
    assert f"Study {name}" in again.out
    assert len(children(lab_root, name)) == 3
    assert STUDY_VARIABLE not in os.environ
    assert not started
    # A single run has none.
    alone = run_cli(*OPTIONS, "adapter=head", "label_smoothing=0.125", root=lab_root)
    assert "mlruns/runs/single/" in alone.out.replace("\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_kill_9_at_any_moment(
    processes: int, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    """What was finished stays, what was begun goes on, and no run has two children."""
    options = [o for o in OPTIONS if not o.startswith(("epochs", "limit"))]
    sweep = ["adapter=lora,dora", "adapter.rank=1,2", "seed=0,1", "study=killed", "epochs=15"]
    command = [
        *("-m", "hydra/launcher=packed", f"hydra.launcher.processes={processes}"),
        *(*options, *sweep, "limit=400", "resume=true"),
    ]
    checkpoints = tmp_path / "mlruns" / "runs" / "killed"
    for wanted in ("*/checkpoints/lane.ckpt", "*/result.json"):
        process = warm.start(tmp_path, *command, before=alone_in_a_fork)
        deadline = time.monotonic() + 120
        while not any(checkpoints.glob(wanted)) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        assert process.ended().code == -signal.SIGKILL
    done = run_cli(*command)
    assert done.code == 0, done
    found = children(tmp_path, "killed")
    assert sorted(run.data.tags["kind"] for run in found) == ["run"] * 8 + ["study"]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert (
        len({run.data.tags["config_hash"] for run in found if run.data.tags["kind"] == "run"}) == 8
    )
    for path in checkpoints.iterdir():
        result = json.loads((path / "result.json").read_text())
        assert sorted(int(epoch) for epoch in result["history"]) == list(range(1, 16))


@pytest.mark.slow
def test_packs_run_side_by_side(
    lab_root: Path, run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run is there once, on one thread, whichever process it was in."""
    options = [o for o in OPTIONS if not o.startswith("hardware.threads")]
    here, submit = execution.outcomes_of, LocalEngine.submit
    elsewhere: list[Future[Any]] = []

    def submitted(engine: LocalEngine, task: Task) -> "Future[Any]":
        elsewhere.append(submit(engine, task))
        return elsewhere[-1]

    def when_another_has_begun(*arguments: Any) -> list[Any]:
        deadline = time.monotonic() + 120
        while not any(future.running() for future in elsewhere):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return here(*arguments)

    monkeypatch.setattr(LocalEngine, "submit", submitted)
    monkeypatch.setattr(execution, "outcomes_of", when_another_has_begun)
    outcome = run_cli(
        *("-m", "hydra/launcher=packed", "hydra.launcher.processes=2", *options),
        *("adapter=lora,dora,head", "seed=0,1,2", "study=side"),
        root=lab_root,
    )
    assert outcome.code == 0, outcome
    runs = [run for run in children(lab_root, "side") if run.data.tags["kind"] == "run"]
    assert len(runs) == 9
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["hardware.threads"] for run in runs} == {"1"}
    by_process = Counter(run.data.tags[PROCESS_TAG] for run in runs)
    assert sorted(by_process.values()) == [3, 6]
    assert "Traceback" not in outcome.err


def test_runs_of_a_process_that_died_are_marked(lab_root: Path) -> None:
    config = tiny(lab_root, "tracking=mlflow", "study=lost", "base=scratch")
    with tracked(config, RunFolder.of(config).link, name="lost") as tracker:
        mark_lost(config, tracker.run_id, RunLostError("its process ended with code -9"))
        client = MlflowClient(default_uri(lab_root / "mlruns"))
        run = client.get_run(tracker.run_id)
        assert run.info.status == "FAILED"
        assert run.data.tags["error"] == "RunLostError: its process ended with code -9"
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
    mark_lost(config, tracker.run_id, RunLostError("late"))  # it had ended
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
    client.set_terminated(tracker.run_id, "KILLED")
    client.set_tag(tracker.run_id, "trial.pruned", "median after epoch 1 of 2")
    mark_lost(config, tracker.run_id, RunLostError("late"), given_up=True)  # no failure of a task's
    assert client.get_run(tracker.run_id).info.status == "KILLED"
    client.delete_tag(tracker.run_id, "trial.pruned")
    mark_lost(config, tracker.run_id, RunLostError("late"), given_up=True)
    assert client.get_run(tracker.run_id).info.status == "FAILED"
