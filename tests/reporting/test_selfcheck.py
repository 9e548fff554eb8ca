"""The self-check of a stored study: which runs are dealt, what is said, and when it fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from adapterlab.app import cli
from adapterlab.evidence import null_studies
from adapterlab.tracking.client import connect
from lab import Outcome

EXAMPLES = 120
RUNS = {"a": 16, "b": 8}
"""Finished runs of two arms of the study `nulls`."""


def keep(client: MlflowClient, folder: Path, arm: str, seed: int, rank: int) -> None:
    """Put a run that is right on four examples of five into the store, as the pipeline would."""
    found = client.get_experiment_by_name("checks")
    experiment = found.experiment_id if found else client.create_experiment("checks")
    rng = np.random.default_rng([seed, rank])
    labels = np.arange(EXAMPLES) % 2
    correct = rng.random(EXAMPLES) < 0.8 + rng.normal(0, 0.03)
    logits = np.where((labels ^ ~correct & 1)[:, None] == [0, 1], 2.0, 0.0)
    tags = {"study": "nulls", "kind": "run", "arm": arm, "config_hash": f"{arm}{seed}",
            "seed": str(seed), "strategy": "lora"}  # fmt: skip
    run = client.create_run(experiment, tags=tags).info.run_id
    accuracy = float(correct.mean())
    params = {"init_seed": seed, "order_seed": seed, "adapter.rank": rank}
    metrics = {"test/accuracy": accuracy, "best/val_accuracy": 1 - accuracy}
    client.log_batch(
        run,
        [Metric(key, value, 0, 0) for key, value in metrics.items()],
        [Param(key, str(value)) for key, value in params.items()],
    )
    table = pa.table({"label": labels, "logits": logits.tolist()})
    path = folder / "predictions.parquet"
    pq.write_table(table.replace_schema_metadata({"classes": "no\nyes"}), path)
    client.log_artifact(run, str(path), "predictions")
    client.set_terminated(run)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("selfcheck")
    client = connect(None, root / "mlruns")
    for rank, (arm, runs) in enumerate(RUNS.items(), 1):
        for seed in range(runs):
            keep(client, tmp_path_factory.mktemp("file"), arm, seed, rank)
    return root


Check = Callable[..., Outcome]


@pytest.fixture
def check(run_cli: Callable[..., Outcome], root: Path) -> Check:
    def checked(*options: str) -> Outcome:
        return run_cli(
            "study=nulls", "experiment=checks", *options, program=cli.selfcheck, root=root
        )

    return checked


def test_an_arm_without_a_difference_passes(check: Check) -> None:
    outcome = check("arms=3", "studies=10")
    assert outcome.code == 0, outcome
    first, false, left, together, last = outcome.out.splitlines()
    assert first == (
        "nulls, lora rank=1: 16 finished runs of one arm, dealt 10 times into 3 arms of 5, "
        "compared on accuracy, 120 test examples"
    )
    assert " of 10 studies, " in false
    assert "95% interval" in left
    assert together.split()[-4:] == ["-1.00", "over", "these", "runs"]
    assert last == "not more than the promised 5%, as far as these studies can tell"


def test_a_broken_rule_fails(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    lenient: Any = null_studies.compare_all
    monkeypatch.setattr(
        null_studies, "compare_all", lambda arms, **given: lenient(arms, **(given | {"level": 0.6}))
    )
    outcome = check("arms=3", "studies=20")
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1] == "more than the promised 5% of studies are false"


def test_an_arm_is_named_as_in_a_report(check: Check) -> None:
    outcome = check("arm=lora rank=2", "arms=2", "runs=4", "studies=2", "compare_on=nll")
    assert outcome.out.startswith("nulls, lora rank=2: 8 finished runs")
    assert "compared on nll" in outcome.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["arms=9"], "lora rank=1 has 16 finished runs, arms=9 runs=5 takes 45; possible: "
                     "arms=2 to 3 with runs=5"),
        (["arm=lora rank=2"], "arms=5 runs=5 takes 25; possible: arms=2 with runs=3 to 4"),
        (["arm=rank=3"], "arm=rank=3 is no arm; allowed: lora rank=1, lora rank=2"),
        (["runs=2"], "runs=2 should be greater than or equal to 3"),
        (["arms=2", "compare_on=luck"], "compare_on=luck is no metric"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked(check: Check, options: list[str], says: str) -> None:
    assert says in check(*options).error


def test_the_options_are_explained(check: Check) -> None:
    outcome = check("--help")
    assert outcome.code == 0
    assert "scripts/selfcheck.py" in outcome.out
