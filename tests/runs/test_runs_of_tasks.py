"""Runs that learn several labels or a number: alone, in packs, resumed, evaluated, compared."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    pipeline,
)

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.evidence.regression import regression_metrics
from adapterlab.runs.auto_ranks import require_auto
from adapterlab.runs.check import check
from adapterlab.runs.data import load_data
from adapterlab.runs.evaluation import Request, evaluate_saved
from adapterlab.runs.export.merged import Request as ExportRequest
from adapterlab.runs.export.merged import export_saved
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.identity import config_hash
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.single import run
from lab import ONE_THREAD, compose, tiny

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
TASKS = ("multi_label", "regression")

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of letters: which vowels are in them, and how many letters come late, times 1000."""
    folder = tmp_path_factory.mktemp("data") / "letters"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 80), ("test", 40)):
        rows = []
        for _ in range(count):
            letters = rng.choice(list("abcdefgh"), size=int(rng.integers(2, 7)))
            late = int(sum(letter > "d" for letter in letters))
            labels = [vowel for vowel in "ae" if vowel in letters]
            rows.append({"text": " ".join(letters), "labels": labels, "late": 1000.0 * late + 5000})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def options(texts: Path, bert: Path) -> dict[str, list[str]]:
    shared = [
        "dataset=text_files", f"dataset.loader.path={texts}", "dataset.max_length=16",
        "model=hf", f"model.name_or_path={bert}", "epochs=2", "batch_size=8",
        "optimizer.lr=0.01", "hardware=cpu", "hardware.threads=1", "tracking=none",
        "hardware.precision=64-true", "baseline=never", "adapter=last_layers",
    ]  # fmt: skip
    columns = {"multi_label": "labels", "regression": "late"}
    return {
        task: [*shared, f"task={task}", f"dataset.loader.label_column={columns[task]}"]
        for task in TASKS
    }


def test_configurations_of_before_keep_their_hash(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    assert (config.task, config.select_on) == ("single_label", "accuracy")
    weighed = tiny(tmp_path, "loss.class_weights=balanced")
    assert config_hash(config) == config_hash(tiny(tmp_path, "loss.standardize=false"))
    known = {config_hash(config), config_hash(weighed)}
    assert known == {"299fc6af7a26", "ca996017309a"}


@pytest.mark.parametrize("task", TASKS)
def test_a_lane_is_the_run_alone(task: str, options: dict[str, list[str]], tmp_path: Path) -> None:
    sweep = [[], ["seed=0", "optimizer.lr=0.004"]]
    alone = [run(compose(tmp_path / "alone", *options[task], *one)) for one in sweep]
    lanes = run_pack([compose(tmp_path / "pack", *options[task], *one) for one in sweep])
    for one, lane in zip(alone, lanes, strict=True):
        assert isinstance(lane, RunResult)
        assert lane.tags["pack_size"] == "2"
        for epoch, metrics in one.history.items():
            assert lane.history[epoch] == pytest.approx(metrics, abs=1e-9)
        names = [name for name in one.metrics if name.startswith("test/")]
        assert names
        for name in names:
            assert lane.metrics[name] == pytest.approx(one.metrics[name], abs=1e-9), name


@pytest.mark.parametrize("task", TASKS)
def test_a_run_is_evaluated_again_to_the_last_digit(
    task: str, options: dict[str, list[str]], tmp_path: Path
) -> None:
    result = run(compose(tmp_path, *options[task]))
    request = Request(run=str(result.folder), split="test", **_where(tmp_path))
    again = evaluate_saved(request)
    assert again.differences() == {}
    assert set(again.logged) == set(again.metrics)
    resumed = run(replace(compose(tmp_path, *options[task]), resume=True))
    assert resumed.metrics == result.metrics


def test_numbers_are_told_in_their_own_unit(options: dict[str, list[str]], tmp_path: Path) -> None:
    result = run(compose(tmp_path, *options["regression"], "epochs=12"))
    table = pq.read_table(result.folder / "predictions.parquet")
    said, true = (table[name].to_numpy() for name in ("prediction", "label"))
    scores = regression_metrics(said, true)
    assert {name: result.metrics[f"test/{name}"] for name in scores} == pytest.approx(scores)
    assert result.metrics["test/r2"] > 0.1
    assert abs(said.mean() - true.mean()) < 1000
    assert result.metrics["data/majority_r2"] <= 0
    wrong = (result.folder / "mistakes" / "most_wrong.csv").read_text().splitlines()
    assert wrong[0] == "row,true,predicted,error,text"


def test_without_standardising_the_loss_is_in_the_unit_squared(
    options: dict[str, list[str]], tmp_path: Path
) -> None:
    plain = [*options["regression"], "epochs=1", "limit=16"]
    scaled = run(compose(tmp_path, *plain))
    raw = run(compose(tmp_path, *plain, "loss.standardize=false"))
    assert scaled.history[1]["val/loss"] < 10 < 1e6 < raw.history[1]["val/loss"]


def test_several_labels_are_answered_above_thresholds_of_validation(
    options: dict[str, list[str]], tmp_path: Path
) -> None:
    result = run(compose(tmp_path, *options["multi_label"], "epochs=12"))
    limits = [result.metrics[f"test/threshold/{name}"] for name in "ae"]
    assert all(0 < limit < 1 for limit in limits)
    table = pq.read_table(result.folder / "predictions.parquet")
    logits = np.array(table["logits"].to_pylist())
    said = [np.flatnonzero(row).tolist() for row in 1 / (1 + np.exp(-logits)) > limits]
    assert table["prediction"].to_pylist() == said
    assert result.metrics["test/micro_f1"] > result.metrics["data/majority_micro_f1"]
    header = (result.folder / "mistakes" / "per_label.csv").read_text().splitlines()[0]
    assert header == "label,examples,answers,right,precision,recall,f1"


@pytest.mark.parametrize("task", TASKS)
def test_an_exported_model_says_what_the_run_says(
    task: str, options: dict[str, list[str]], tmp_path: Path
) -> None:
    result = run(compose(tmp_path, *options[task]))
    to = tmp_path / "exported"
    request = ExportRequest(
        run=str(result.folder), to=str(to), overwrite=False, examples=8, tolerance=1e-4,
        **_where(tmp_path),
    )  # fmt: skip
    export = export_saved(request)
    assert export.agreement.difference <= 1e-4 * export.agreement.largest
    table = pq.read_table(result.folder / "predictions.parquet")
    (text, *_) = [json.loads(line)["text"] for line in (_test_file(options[task])).open()]
    classify = pipeline("text-classification", model=str(to), top_k=None)
    found = {one["label"]: one["score"] for one in classify([text])[0]}
    if task == "regression":
        assert found["late"] == pytest.approx(table["prediction"][0].as_py(), rel=1e-4)
    else:
        logits = np.array(table["logits"][0].as_py())
        assert [found["a"], found["e"]] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-4)
    if task == "multi_label":  # the base answers above thresholds of validation as well
        again = [f"model.name_or_path={to}", "base=pretrained", "base.head=keep", "epochs=1"]
        on = run(compose(tmp_path, *options[task], *again))
        before = on.metrics["target/micro_f1_before"]
        assert before == pytest.approx(result.metrics["test/micro_f1"], abs=1e-9)
    card = (to / "README.md").read_text()
    assert ("answered above these probabilities" in card) == (task == "multi_label")
    assert ("- labels: " in card) == (task == "multi_label")
    assert ("A fine-tuned regression model, " in card) == (task == "regression")


def test_a_head_that_is_kept_says_numbers_in_their_own_unit(
    options: dict[str, list[str]], texts: Path, tmp_path: Path
) -> None:
    told = [*options["regression"], "epochs=1", "hardware.precision=32-true"]
    before = run(compose(tmp_path, *told, "adapter=lora", "base=pretrained"))
    request = ExportRequest(
        run=str(before.folder), to=str(tmp_path / "exported"), overwrite=False, examples=8,
        tolerance=1e-4, **_where(tmp_path),
    )  # fmt: skip
    export_saved(request)
    # Of these numbers, mean and deviation are others.
    other = tmp_path / "other"
    other.mkdir()
    lines = (texts / "train.jsonl").read_text().splitlines()
    late = [one for one in lines if json.loads(one)["late"] > 7000]
    (other / "train.jsonl").write_text("\n".join(late))
    (other / "test.jsonl").write_text((texts / "test.jsonl").read_text())
    told += [f"dataset.loader.path={other}", "adapter=head"]
    exported = ["base=pretrained", "base.head=keep", f"model.name_or_path={tmp_path / 'exported'}"]
    adapter = ["base=peft", f"base.path={before.folder / 'peft'}"]
    for base in (exported, adapter):
        on = run(compose(tmp_path, *told, *base))
        assert on.tags["base_head"] == "kept"
        expected = pytest.approx(before.metrics["test/r2"], abs=1e-4)
        assert on.metrics["target/r2_before"] == expected
        again = evaluate_saved(Request(run=str(on.folder), split="test", **_where(tmp_path)))
        assert again.differences() == {}
    _of_an_older_version(before.folder / "peft" / "adapter_model.safetensors")
    with pytest.raises(ConfigError, match="does not say in which scale its head learnt numbers"):
        run(compose(tmp_path, *told, *adapter, "study=older"))


def _of_an_older_version(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    del metadata["unit"]
    save_file(load_file(path), path, metadata)


def test_what_is_of_one_label_only_is_refused(
    options: dict[str, list[str]], tmp_path: Path
) -> None:
    for task, extra, said in (
        ("regression", "loss.focal_gamma=2", "loss.focal_gamma=2.0 is of classes that exclude"),
        ("multi_label", "loss.class_weights=balanced", "loss.class_weights=balanced is of classes"),
        ("multi_label", "sampling=balanced", "sampling=balanced is of classes"),
        ("regression", "label_smoothing=0.1", "label_smoothing=0.1 is of classes"),
        ("regression", "select_on=accuracy", "allowed: r2, pearson, spearman, mae, rmse, loss"),
        ("single_label", "select_on=r2", "select_on=r2 is no metric of task=single_label"),
        ("regression", "dataset.classes=[a,b]", "are of no use for task=regression"),
        ("regression", "adapter=gps", "adapter=gps takes gradients of a loss of one class"),
        (
            "multi_label",
            "adapter=lora adapter.init=gora",
            "task=single_label, or another adapter.init",
        ),
        ("regression", "adapter=lora adapter.init=lora_ga", "adapter.init=lora_ga takes gradients"),
        ("regression", "adapter=shira adapter.mask=snip", "adapter.mask=snip takes gradients"),
    ):
        given = options.get(task, options["regression"])
        with pytest.raises(ConfigError, match=re.escape(said)):
            check(compose(tmp_path, *given, f"task={task}", *extra.split()))
    auto = (
        "adapter=lora",
        "adapter.rank=auto",
        "ranks.by=gradients",
        "budget=1%",
        "base=pretrained",
    )
    with pytest.raises(ConfigError, match=r"ranks\.by=gradients takes .* or another ranks\.by"):
        require_auto(compose(tmp_path, *options["regression"], *auto))


def test_several_labels_are_not_one(options: dict[str, list[str]], tmp_path: Path) -> None:
    alone = [*options["multi_label"], "task=single_label"]
    with pytest.raises(DataError, match=r"has lists as labels, .* task=multi_label reads several"):
        load_data(compose(tmp_path, *alone))


def _test_file(options: list[str]) -> Path:
    (folder,) = [o.partition("=")[2] for o in options if o.startswith("dataset.loader.path=")]
    return Path(folder) / "test.jsonl"


def _where(root: Path) -> dict[str, object]:
    return {
        "tracking_uri": None, "root": str(root), "data_dir": None, "hardware": ONE_THREAD,
    }  # fmt: skip
