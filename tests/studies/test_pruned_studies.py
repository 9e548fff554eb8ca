"""Tuning whose runs are stopped early, from the command line: what is left, said and resumed."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import USER_ERROR
from adapterlab.studies.engines import KINDS
from adapterlab.tracking.stores.uris import default_uri
from lab import ONE_PROCESS, TINY, Outcome

pytestmark = pytest.mark.usefixtures("no_pictures")

ARMS = ("adapter=full optimizer=sgd", "adapter=lora adapter.rank=2")
RATES = (1e-4, 1e-3, 1e-2, 1e-1, 3e-1)
EPOCHS = 3


def tuning(launcher: str, study: str, *options: str) -> list[str]:
    own = ("tracking=none", "epochs", "optimizer.lr")
    return [
        *("-m", "hydra/sweeper=tuned", f"hydra/launcher={launcher}", *ONE_PROCESS[launcher]),
        *(option for option in TINY if not option.startswith(own)),
        *(f"epochs={EPOCHS}", f"study={study}", "report=false"),
        f"hydra.sweeper.arms={json.dumps(ARMS)}",
        f"hydra.sweeper.tune={{optimizer.lr:{json.dumps(RATES)}}}",
        *("hydra.sweeper.seeds=[0]", "hydra.sweeper.pruner=successive_halving", *options),
    ]


def runs(root: Path, study: str) -> list[Any]:
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment: Any = client.get_experiment_by_name("adapterlab")
    return list(
        client.search_runs(
            [experiment.experiment_id], f"tags.study = '{study}' and tags.kind = 'run'"
        )
    )


@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_what_is_stopped_is_neither_chosen_nor_failed(
    launcher: str, lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    study = f"stopped-{launcher}"
    outcome = run_cli(*tuning(launcher, study), root=lab_root)
    assert outcome.code == 0, outcome
    tried = runs(lab_root, f"{study}-tuning")
    assert len(tried) == len(ARMS) * len(RATES)
    stopped = [run for run in tried if run.data.tags.get("trial.pruned")]
    assert stopped
    assert {run.info.status for run in stopped} == {"KILLED"}
    assert {run.info.status for run in tried if run not in stopped} == {"FINISHED"}
    assert all(1 <= run.data.metrics["trial/pruned_epoch"] < EPOCHS for run in stopped)
    assert not any("test/accuracy" in run.data.metrics for run in stopped)
    (full, lora) = runs(lab_root, study)
    assert {full.info.status, lora.info.status} == {"FINISHED"}
    ended = {run.data.params["optimizer.lr"] for run in tried if run not in stopped}
    assert {full.data.params["optimizer.lr"], lora.data.params["optimizer.lr"]} <= ended

    again = run_cli(*tuning(launcher, study, "resume=true"), root=lab_root)
    assert again.code == 0, again
    after = {run.info.run_id: run.info.end_time for run in runs(lab_root, f"{study}-tuning")}
    assert after == {run.info.run_id: run.info.end_time for run in tried}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(
            pytest.param(
                (f"hydra.launcher.engine={engine}",),
                "successive_halving stops runs of this machine: set hydra.launcher.engine=local",
                marks=pytest.mark.skipif(
                    find_spec(str(kind.package)) is None, reason=f"{kind.package} is not installed"
                ),
                id=engine,
            )
            for engine, kind in KINDS.items()
            if engine != "local"
        ),
        (("hardware.devices=2",), "stops runs of one device, and hardware.devices=2"),
    ],
)
def test_where_nothing_can_be_stopped(
    options: tuple[str, ...], said: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    if "hydra.launcher.engine=submitit" in options:
        options = (*options, "hydra.launcher.cluster=local")
    own = tuple(o for o in tuning("packed", "s", *options) if "processes" not in o)
    outcome = run_cli(*own, root=tmp_path)
    assert outcome.code == USER_ERROR, outcome
    assert said in outcome.err.splitlines()[-1]
    assert not (tmp_path / "mlruns" / "runs").exists()
