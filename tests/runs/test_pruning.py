"""Pruned runs: chosen on validation, tested once, and runs like any other after that."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.app import cli
from adapterlab.app.prune_command import prune
from adapterlab.base.errors import AdapterLabError
from adapterlab.config.schema import Config
from adapterlab.runs.evaluation import evaluate_saved
from adapterlab.runs.evaluation import parse_request as evaluation_of
from adapterlab.runs.export.merged import Request as ExportRequest
from adapterlab.runs.export.merged import export_saved
from adapterlab.runs.folders.folder import RunResult, read_config
from adapterlab.runs.identity import arm_hash, config_hash
from adapterlab.runs.pruning import cutting
from adapterlab.runs.pruning.curve import Curve, Point
from adapterlab.runs.pruning.cutting import Request, prune_saved
from adapterlab.runs.single import run
from adapterlab.tracking.stores.uris import default_uri
from lab import ONE_THREAD, TINY, Outcome, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

DEEP = ("model.widths=[24,16]", "adapter.rank=4", "adapter.alpha=8", "epochs=4")


def asked(result: RunResult, root: Path, **changes: Any) -> Request:
    values = {
        "run": str(result.folder),
        "keep": [0.3, 0.6, 1.0],
        "log_run": False,
        "tracking_uri": None,
        "root": str(root),
        "data_dir": None,
        "hardware": ONE_THREAD,
    }
    return Request(**(values | changes))


def trained(root: Path, *overrides: str) -> tuple[Config, RunResult]:
    config = tiny(root, *DEEP, *overrides)
    return config, run(config)


@pytest.mark.parametrize("adapter", ["lora", "dora", "lora_plus"])
def test_a_pruned_run_is_a_run(adapter: str, lab_root: Path, tmp_path: Path) -> None:
    config, result = trained(lab_root, f"adapter={adapter}", "adapter.rank=4", "adapter.alpha=8")
    bases = set((lab_root / "mlruns" / "runs" / "bases").iterdir())
    found = prune_saved(asked(result, lab_root, keep=[0.6]))
    assert set((lab_root / "mlruns" / "runs" / "bases").iterdir()) == bases
    folder = found.result.folder
    own = read_config(folder / "config.yaml")
    assert own.adapter["rank_pattern"]
    assert own.pruned is not None
    assert own.pruned.keep == 0.6
    fewer = found.result.metrics["params/adapter"] / result.metrics["params/adapter"]
    assert 0.3 < fewer < 0.75
    assert config_hash(own) != config_hash(config)
    request = {"run": str(folder), "split": "test", "tracking_uri": None, "root": str(lab_root)}
    hardware = {k: getattr(ONE_THREAD, k) for k in ONE_THREAD.__dataclass_fields__}
    evaluated = evaluate_saved(evaluation_of({**request, "data_dir": None, "hardware": hardware}))
    assert not evaluated.differences()
    assert len(evaluated.logged) > 5
    exported = export_saved(
        ExportRequest(
            run=str(folder),
            to=str(tmp_path / "to"),
            overwrite=False,
            examples=32,
            tolerance=1e-4,
            tracking_uri=None,
            root=str(lab_root),
            data_dir=None,
            hardware=ONE_THREAD,
        )
    )
    assert exported.agreement.difference < 1e-4
    peft = json.loads((folder / "peft" / "adapter_config.json").read_text())
    assert set(peft["rank_pattern"].values()) <= {1, 2, 3, 4}
    assert found.result.missing["cost/train_seconds"].endswith("nothing was trained")


def test_the_choice_never_sees_the_test_split(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = trained(lab_root)
    seen: list[str] = []
    predict = cutting.predict

    def watched(model: Any, data: Any, split: str, device: Any) -> Any:
        seen.append(split)
        return predict(model, data, split, device)

    monkeypatch.setattr(cutting, "predict", watched)
    found = prune_saved(asked(result, lab_root, keep=[0.3, 0.6, 1.0]))
    assert seen == [*["validation"] * 5, "test"]
    assert not found.found
    again = prune_saved(asked(result, lab_root, keep=[0.3, 0.6, 1.0]))
    assert again.found
    assert again.result.metrics == found.result.metrics
    assert seen[6:] == ["validation"] * 4


def test_seeds_are_replicates_of_one_arm(lab_root: Path) -> None:
    """The ranks that are left differ; how they were chosen is the arm."""
    arms, adapters = set(), []
    for seed in (0, 1):
        _, result = trained(lab_root, f"seed={seed}", "study=pruned-seeds")
        pruned = prune_saved(asked(result, lab_root, study="after"))
        assert pruned.result.folder.parent.name == "after"
        own = read_config(pruned.result.folder / "config.yaml")
        arms.add(arm_hash(own))
        adapters.append(own.adapter)
    assert len(arms) == 1
    assert arm_hash(tiny(lab_root, *DEEP)) not in arms


def test_what_the_command_says(lab_root: Path, run_cli: Callable[..., Outcome]) -> None:
    options = [option for option in TINY if option != "tracking=none"]
    outcome = run_cli(*options, *DEEP, "seed=5", root=lab_root)
    assert outcome.code == 0, outcome
    (folder,) = (lab_root / "mlruns" / "runs" / "single").glob("*lora-r4-a8-seed5-*")
    one_thread = ("hardware=cpu", "hardware.threads=1")
    outcome = run_cli(
        f"run={folder}", "keep=[0.01,0.5,1]", *one_thread, program=prune, root=lab_root
    )
    assert outcome.code == 0, outcome
    assert "on the validation split (never on test)" in outcome.out
    assert "not tried: keep=0.01 has no room" in outcome.out
    (own,) = (lab_root / "mlruns" / "runs" / "single").glob("*lora-r4-a8-kept*-seed5-*")
    rows = list(csv.DictReader((own / "choice" / "pruning.csv").open()))
    assert [row["keep"] for row in rows] == ["whole", "0.5", "1.0"]
    run_id = (own / "mlflow_run_id").read_text()
    client = MlflowClient(default_uri(lab_root / "mlruns"))
    curve = client.get_metric_history(run_id, "pruned/val_accuracy")
    assert [(str(point.step), str(point.value)) for point in curve] == [
        (row["parameters"], row["val_accuracy"]) for row in rows[1:]
    ]
    assert {file.path for file in client.list_artifacts(run_id, "choice")} == {
        "choice/pruning.csv",
        "choice/pruning.png",
    }
    assert client.get_run(run_id).info.status == "FINISHED"
    again = run_cli(f"run={run_id}", program=prune, root=lab_root)
    assert "is pruned already; prune digits_rotated-mlp-lora-r4-a8-seed5 instead" in again.error
    outcome = run_cli(f"run={run_id}", *one_thread, program=cli.evaluate, root=lab_root)
    assert "equal to the logged metrics" in outcome.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["keep=0"], "keep.*0.* should be greater than 0"),
        (["keep=[]"], "keep.* should have at least 1 item"),
        (["keep=half"], "keep.* should be a valid number"),
        (["run=nowhere"], "neither a run folder nor"),
    ],
)
def test_mistakes_get_one_line(
    options: list[str], said: str, run_cli: Callable[..., Outcome]
) -> None:
    error = run_cli("run=x", *options, program=prune).error
    assert re.search(said, error), error


def test_what_has_no_ranks_is_refused_before_anything_is_read(lab_root: Path) -> None:
    result = run(tiny(lab_root, DEEP[0], "adapter=bitfit"))
    with pytest.raises(AdapterLabError, match="BitFit trains no low-rank update B A; allowed"):
        prune_saved(asked(result, lab_root))


def test_a_run_is_not_trained_as_a_pruned_one(run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli(
        "+pruned={run: x, adapter_sha256: y, adapter: {}, keep: 1, tried: [1], margin: 0}"
    )
    assert "pruned is what scripts/prune.py fills in" in outcome.error


def curve(*scores: tuple[float, int, float], whole: float = 0.8, margin: float = 0.5) -> Curve:
    points = tuple(Point(keep, 1, parameters, 0.1, score) for keep, parameters, score in scores)
    return Curve("accuracy", points, whole, 100, 8, 2, margin)


def test_the_fewest_parameters_within_the_margin_are_chosen() -> None:
    seen = curve((0.1, 10, 0.79), (0.25, 25, 0.795), (0.5, 50, 0.81))
    assert seen.chosen.keep == 0.25
    assert "within 0.5 points" in seen.why
    none = curve((0.1, 10, 0.7), (0.25, 25, 0.78), (0.5, 50, 0.78))
    assert none.chosen.keep == 0.25
    assert "none is within 0.5 points" in none.why
    assert "validation had no say" in curve((0.1, 10, 0.1)).why
