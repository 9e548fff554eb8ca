"""Tuning whose runs are stopped early, from the command line: what is left, said and resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import USER_ERROR
from adapterlab.studies.tuning.design import Pruning
from adapterlab.studies.tuning.pruned import foreseen
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
    ("rule", "epochs", "first", "said"),
    [
        ("median", 4, 1, "of an arm after 5 have ended: at most 38% of the epochs are saved"),
        ("median", 4, 3, "of an arm, compared from epoch 3 on, after 5 have ended: at most 12%"),
        ("median", 4, 4, "compared from epoch 4 on, after 5 have ended: at most 0%"),
        ("successive_halving", 8, 1, "after each of the epochs 1, 4: about 73% of the epochs"),
        ("successive_halving", 8, 6, "after each of the epochs 6: about 22% of the epochs"),
        ("successive_halving", 8, 8, "stops no trial of 8 epochs, compared from epoch 8 on"),
    ],
)
def test_what_is_foreseen(rule: str, epochs: int, first: int, said: str) -> None:
    assert said in foreseen(Pruning(rule, {}, None), 10, epochs, first)


def test_epochs_that_are_not_compared_save_nothing(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    """AdaLoRA's ranks are final late; other arms are compared from the first epoch on."""
    arms = json.dumps(("adapter=head", "adapter=adalora"))
    options = (f"hydra.sweeper.arms={arms}", "epochs=4", "plan=true")
    outcome = run_cli(*tuning("packed", "s", *options), root=tmp_path)
    assert outcome.code == 0, outcome
    says = [line for line in outcome.err.splitlines() if "successive_halving" in line]
    assert ["adapter=head: " in says[0], "adapter=adalora: " in says[1]] == [True, True]
    assert "compared from epoch" not in says[0]
    assert "compared from epoch 3 on" in says[1]


def test_where_nothing_can_be_stopped(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli(*tuning("packed", "s", "hardware.devices=2"), root=tmp_path)
    assert outcome.code == USER_ERROR, outcome
    said = "stops runs of one device, and hardware.devices=2"
    assert said in outcome.err.splitlines()[-1]
    assert not (tmp_path / "mlruns" / "runs").exists()
