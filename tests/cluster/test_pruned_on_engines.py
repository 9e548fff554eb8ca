"""Tuning runs that a pruner stops in packs which every engine carries out: the same runs, as early.

Engines are started for it, so `make cluster-test` runs it.
"""

import json
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from adapterlab.studies.engines import KINDS
from adapterlab.studies.tasks.records import read_there, records
from cluster_lab import Cluster
from engine_lab import metrics_of

pytestmark = pytest.mark.cluster

ARMS = ("adapter=full", "adapter=lora adapter.rank=2")
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
TUNED = (
    "-m", "hydra/launcher=packed", "hydra/sweeper=tuned", "hydra.sweeper.seeds=[0,1]",
    f"hydra.sweeper.arms={json.dumps(ARMS)}",
    f"hydra.sweeper.tune={{optimizer.lr:{json.dumps(RATES)}}}",
    "hydra.sweeper.lanes=2", "dataset=digits_rotated", "limit=400", "base.epochs=2",
    "hardware=cpu", "hardware.threads=1", "hardware.precision=64-true", "baseline=never",
    "figures=never", "report=false", "hydra.launcher.processes=2",
)  # fmt: skip

PRUNERS = {
    "median": "hydra.sweeper.pruner={name:median,n_startup_trials:1,n_warmup_steps:2}",
    "successive_halving": "hydra.sweeper.pruner=successive_halving",
}

Found = tuple[dict[str, tuple[str, str | None]], dict[str, dict[str, float]]]


def tuned(
    root: Path, *options: str, pruner: str = "median", epochs: int = 12, kill: bool = False
) -> Found:
    """Tune; return how every trial ended, and the metrics of what was compared."""
    trials = Cluster(root, "tuned-tuning", {}, TUNED)
    study = Cluster(root, "tuned", {}, TUNED)
    command = study.start(PRUNERS[pruner], f"epochs={epochs}", "batch_size=16", *options)
    if kill:
        there = read_there(trials.tasks, trials.one_going().id)
        assert there is not None
        os.kill(int(there.process.split("-")[2]), signal.SIGKILL)
    said, _ = command.communicate(timeout=900)
    assert command.returncode == 0, said
    assert ("it goes on in another" in said) == kill
    assert {run.info.status for run in study.logged()} == {"FINISHED"}
    assert {record.state for record in records(trials.tasks)} <= {"done"}
    found = {run.data.tags["config_hash"]: ended(run) for run in trials.runs()}
    assert len(found) == len(trials.runs()) == len(ARMS) * len(RATES)
    return found, metrics_of(root, "tuned")


def ended(run: Any) -> tuple[str, str | None]:
    return run.info.status, run.data.tags.get("trial.pruned")


@pytest.fixture(scope="module", params=PRUNERS)
def reference(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[str, Found]:
    """A pruner, and what comes of it on this machine."""
    return request.param, tuned(tmp_path_factory.mktemp("local"), pruner=request.param)


def options_of(engine: str) -> tuple[str, ...]:
    if (package := KINDS[engine].package) and find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install '.[{KINDS[engine].extra}]'")
    here = ("hydra.launcher.cluster=local",) if engine == "submitit" else ()
    return (f"hydra.launcher.engine={engine}", *here)


@pytest.mark.parametrize("engine", [engine for engine in KINDS if engine != "local"])
def test_the_same_trials_are_stopped(
    engine: str, tmp_path: Path, reference: tuple[str, Found]
) -> None:
    pruner, here = reference
    trials, compared = tuned(tmp_path, *options_of(engine), pruner=pruner)
    assert 0 < sum(pruned is not None for _, pruned in trials.values()) < len(trials) - 1
    assert trials == here[0]
    assert len(compared) == len(ARMS) * 2
    assert compared.keys() == here[1].keys()
    for name, metrics in here[1].items():
        assert compared[name] == pytest.approx(metrics, rel=1e-8, abs=1e-10)


def test_a_killed_task_goes_on_among_its_rivals(tmp_path: Path) -> None:
    """What was decided stands; trials that were interrupted go on, and may be stopped later."""
    trials, compared = tuned(tmp_path, *options_of("ray"), epochs=80, kill=True)
    assert len(compared) == len(ARMS) * 2
    states = {(status, pruned is not None) for status, pruned in trials.values()}
    assert states == {("FINISHED", False), ("KILLED", True)}
