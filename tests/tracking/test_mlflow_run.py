"""What MLflow has of a run, and that tracking can be left out."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image
from safetensors.torch import load_file

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.parsing import from_container, to_container
from adapterlab.config.schema import Config
from adapterlab.reporting.findings import headline
from adapterlab.reporting.report import Request, make_report
from adapterlab.runs import single
from adapterlab.runs.evaluation import evaluate_saved, parse_request
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.identity import arm_hash, config_hash
from adapterlab.tracking import mlflow_run
from adapterlab.tracking.client import connect
from adapterlab.tracking.note_tags import notes_tag
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.tracking.trackers import flattened
from adapterlab.training.hardware import fingerprint
from lab import compose, tiny

OVERRIDES = (
    "tracking=mlflow",
    "study=tracked",
    "epochs=3",
    "limit=64",
    "adapter.rank_pattern={layers.*: 4}",
)


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(default_uri(root / "mlruns"))


@pytest.fixture(scope="module")
def logged(lab_root: Path) -> tuple[Config, RunResult, Any]:
    """One run with everything on: its configuration, its result, and what MLflow has of it."""
    config = tiny(lab_root, *OVERRIDES)
    result = single.run(config)
    return config, result, client_of(lab_root).get_run(result.run_id)


def test_every_option_is_a_parameter(logged: tuple[Config, RunResult, Any]) -> None:
    config, _, saved = logged
    assert saved.data.params["optimizer.lr"] == "0.01"
    assert saved.data.params["base.dataset.loader.rotation"] == "0"
    expected = flattened(to_container(config))
    assert saved.data.params == {key: str(value) for key, value in expected.items()}
    assert saved.data.params["adapter.rank_pattern"] == "{'layers.*': 4}"


def test_tags_say_what_runs_are_found_by(logged: tuple[Config, RunResult, Any]) -> None:
    config, result, saved = logged
    tags = saved.data.tags
    expected = {
        "strategy": "lora",
        "model": "mlp",
        "dataset": "digits_rotated",
        "seed": "0",
        "study": "tracked",
        "kind": "run",
        "arm": arm_hash(config),
        "config_hash": config_hash(config),
        "base_head": "kept",
        "pack_size": "1",
        "precision": "32-true",
        "memory_kind": "rss",
        "data_notes": notes_tag(result.notes),
        "mlflow.runName": result.name,
        "hardware.id": fingerprint("cpu")["id"],
    }
    assert {key: tags.get(key) for key in expected} == expected
    assert tags["base"].startswith("trained on digits (")
    assert saved.info.status == "FINISHED"
    assert len(tags.get("git_commit", 40 * "0").rstrip("+")) == 40
    (data,) = (used.dataset for used in saved.inputs.dataset_inputs)
    assert (data.name, data.digest) == ("digits_rotated", result.data_hash)


def test_a_metric_an_epoch(logged: tuple[Config, RunResult, Any], lab_root: Path) -> None:
    _, result, _ = logged
    client = client_of(lab_root)
    for name in ("train/loss", "train/accuracy", "train/lr", "val/loss", "val/macro_f1"):
        points = client.get_metric_history(result.run_id, name)
        assert [point.step for point in points] == [1, 2, 3], name
    best = int(result.metrics["best/epoch"])
    accuracies = client.get_metric_history(result.run_id, "val/accuracy")
    assert accuracies[best - 1].value == result.metrics["best/val_accuracy"]


def test_the_final_metrics_are_those_of_the_result(logged: tuple[Config, RunResult, Any]) -> None:
    _, result, saved = logged
    final = {
        name: value
        for name, value in saved.data.metrics.items()
        if name.partition("/")[0] not in ("train", "val")
    }
    assert final == result.metrics
    for name, why in result.missing.items():
        assert saved.data.tags[f"missing.{name}"] == why


def test_files_are_kept_with_the_run(
    logged: tuple[Config, RunResult, Any], lab_root: Path, tmp_path: Path
) -> None:
    config, result, saved = logged
    assert saved.info.artifact_uri.startswith((lab_root / "mlruns" / "artifacts").as_uri())
    artifacts = Path(client_of(lab_root).download_artifacts(result.run_id, "", str(tmp_path)))
    files = {str(p.relative_to(artifacts)) for p in artifacts.rglob("*") if p.is_file()}
    assert files == {
        "config.yaml",
        "result.json",
        "adapter/adapter.safetensors",
        "predictions/predictions.parquet",
        "predictions/source_predictions.parquet",
        "figures/confusion_matrix.png",
        "figures/learning_curves.png",
        "mistakes/confidently_wrong.csv",
        "mistakes/confidently_wrong.png",
        "mistakes/confused_pairs.csv",
        "mistakes/mistakes.md",
        "mistakes/per_class.csv",
        "mistakes/per_class.png",
        "peft/adapter_config.json",
        "peft/adapter_model.safetensors",
    }
    values = yaml.safe_load((artifacts / "config.yaml").read_text())
    assert from_container(values) == config
    trained = sum(t.numel() for t in load_file(artifacts / "adapter/adapter.safetensors").values())
    assert trained == result.metrics["params/trainable"]
    table = pq.read_table(artifacts / "predictions/predictions.parquet")
    assert (table.num_rows, table.column_names) == (64, ["row", "label", "prediction", "logits"])
    for name in ("confusion_matrix", "learning_curves"):
        with Image.open(artifacts / "figures" / f"{name}.png") as picture:
            assert min(picture.size) > 300


def test_the_base_is_an_mlflow_run_too(
    logged: tuple[Config, RunResult, Any], tmp_path: Path
) -> None:
    single.run(tiny(tmp_path, "tracking=mlflow", "limit=32", "epochs=1", "adapter=head"))
    client = client_of(tmp_path)
    runs = client.search_runs([client.get_experiment_by_name("adapterlab").experiment_id])
    base, run, study = sorted(runs, key=lambda each: each.data.tags["kind"])
    assert (study.data.tags["study"], study.info.run_name) == ("bases", "bases")
    assert base.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert "mlflow.parentRunId" not in run.data.tags
    assert (base.data.tags["kind"], base.data.tags["study"]) == ("base", "bases")
    assert base.data.tags["dataset"] == "digits"
    assert "study" not in run.data.tags
    assert base.info.status == run.info.status == "FINISHED"


def test_a_report_names_runs_by_what_tells_them_apart(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = ("0.01", "0.02")
    common = ("tracking=mlflow", "study=rates", "epochs=1", "limit=32", "base=scratch")
    results = [single.run(tiny(lab_root, *common, f"optimizer.lr={rate}")) for rate in rates]
    request = Request(
        study="rates", reference=None, experiment="adapterlab", tracking_uri=None,
        root=str(lab_root),
    )  # fmt: skip
    report = make_report(request)
    client = client_of(lab_root)
    saved = [client.get_run(result.run_id) for result in results]
    assert [run.info.run_name for run in saved] == ["lora lr=0.01 seed 0", "lora lr=0.02 seed 0"]
    assert [run.data.tags["arm_name"] for run in saved] == [
        f"lora optimizer.lr={rate}" for rate in rates
    ]
    study = client.get_run(saved[0].data.tags["mlflow.parentRunId"])
    first, *rest = study.data.tags["mlflow.note.content"].split("  \n")
    link, sentence = first.split(": ", 1)
    assert (sentence, *rest) == tuple(report.page.verdict)
    page = f"{study.info.experiment_id}/runs/{study.info.run_id}/artifacts/report/report.html"
    assert page in link
    assert "report.html" in [Path(item.path).name for item in client.list_artifacts(
        study.info.run_id, "report")]  # fmt: skip
    interval, among = headline(report.findings)  # it allows for the pick of one arm of two
    assert interval is not None
    assert among == 2
    assert study.data.metrics == {
        "study/runs": 2,
        "study/arms": 2,
        "study/failed": 0,
        "study/best_accuracy": report.findings.reference.accuracy.mean,
        "study/best_accuracy_low": interval.low,
        "study/best_accuracy_high": interval.high,
    }
    # Written again, it leaves alone the runs whose names are right.
    touched: list[str] = []
    monkeypatch.setattr(
        MlflowClient, "log_batch", lambda _, run_id, *_args, **_how: touched.append(run_id)
    )
    make_report(request)
    assert touched == [study.info.run_id]


@pytest.mark.parametrize("where", ["folder", "mlflow"])
def test_a_saved_run_is_evaluated_from_its_folder_and_from_mlflow(
    where: str, logged: tuple[Config, RunResult, Any], lab_root: Path
) -> None:
    _, result, _ = logged
    values = {
        "run": str(result.folder) if where == "folder" else result.run_id,
        "split": "test",
        "tracking_uri": None,
        "root": str(lab_root),
        "data_dir": None,
        "hardware": to_container(compose(lab_root, "hardware.threads=1"))["hardware"],
    }
    evaluation = evaluate_saved(parse_request(values))
    assert evaluation.logged == evaluation.metrics
    assert set(evaluation.metrics) == {
        name.removeprefix("test/") for name in result.metrics if name.startswith("test/")
    }
    assert evaluation.differences() == {}


def test_a_run_without_files_is_no_finished_run(
    logged: tuple[Config, RunResult, Any], lab_root: Path
) -> None:
    client = client_of(lab_root)
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    empty = client.create_run(experiment).info.run_id
    values = {
        "run": empty,
        "split": "test",
        "tracking_uri": None,
        "root": str(lab_root),
        "data_dir": None,
        "hardware": to_container(compose(lab_root))["hardware"],
    }
    with pytest.raises(AdapterLabError, match="nor a finished MLflow run") as caught:
        evaluate_saved(parse_request(values))
    assert "\n" not in str(caught.value)
    client.delete_run(empty)


def test_without_tracking_there_is_no_store(
    tmp_path: Path, no_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_run, "connect", lambda *_: pytest.fail("it connected"))
    result = single.run(tiny(tmp_path, "tracking=none", "base=scratch", "adapter=head"))
    assert result.run_id is None
    assert sorted(path.name for path in (tmp_path / "mlruns").iterdir()) == ["cache", "runs"]


def test_a_run_that_was_not_tracked_is_tracked_when_it_is_resumed_elsewhere(
    lab_root: Path, tmp_path: Path, no_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its MLflow run is gone, with its store: it gets another."""
    options = ("base=scratch", "adapter=head", "seed=9", "resume=true", "study=moved")
    config = tiny(lab_root, "tracking=mlflow", *options)
    with monkeypatch.context() as patch:
        patch.setattr("adapterlab.runs.lifecycle.write_files", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            single.run(config)
    first = RunFolder.of(config).link.run_id()
    client_of(lab_root).delete_run(first)
    result = single.run(config)
    assert result.run_id != first
    saved = client_of(lab_root).get_run(result.run_id)
    assert saved.info.status == "FINISHED"
    assert saved.data.metrics.items() >= {"test/accuracy": result.metrics["test/accuracy"]}.items()


def test_flattening_keeps_every_leaf() -> None:
    values = {"a": 1, "b": {"c": {"d": None}, "e": []}, "f": {}, "g": {"layers.*": 4}}
    assert flattened(values) == {
        "a": 1,
        "b.c.d": None,
        "b.e": [],
        "f": {},
        "g": {"layers.*": 4},
    }


def test_a_store_is_set_up_once_and_found_again(lab_root: Path) -> None:
    one = connect(None, lab_root / "mlruns")
    other = connect(None, lab_root / "mlruns")
    assert [e.experiment_id for e in one.search_experiments()] == [
        e.experiment_id for e in other.search_experiments()
    ]
