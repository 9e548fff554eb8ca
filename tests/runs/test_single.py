"""One run, end to end, on digits: every strategy, the same twice, and evaluated again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from adapterlab.adapters import read_metadata
from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.config import conf_folder
from adapterlab.config.schema import Config
from adapterlab.runs.assembly import assemble
from adapterlab.runs.data import load_data
from adapterlab.runs.evaluation import Request, evaluate_saved
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.single import run
from adapterlab.training.fit import fit
from adapterlab.training.outcome import Training
from lab import ONE_THREAD, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

# `continued` needs an adapter of PEFT's: test_peft_base.py has one.
STRATEGIES = sorted(
    {path.stem for path in (conf_folder.CONF / "adapter").glob("*.yaml")} - {"continued"}
)
OF_TRANSFORMERS = ("ln_tuning", "lora_norm", "lora_prompt", "mam", "prefix", "prompt", "unipelt")
NEEDING = {"lora_last_layers": "model.widths=[8,8]"}


def tensors(result: RunResult) -> dict[str, torch.Tensor]:
    return load_file(result.folder / "adapter.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def logits(result: RunResult) -> list[Any]:
    columns: dict[str, list[Any]] = pq.read_table(result.folder / "predictions.parquet").to_pydict()
    return columns["logits"]


def again(result: RunResult, split: Any = "test", threads: int = 1, **options: Any) -> Any:
    request = Request(
        run=str(result.folder),
        split=split,
        tracking_uri=None,
        root=str(result.folder.parents[3]),
        data_dir=None,
        hardware=replace(ONE_THREAD, threads=threads),
    )
    return evaluate_saved(replace(request, **options))


@pytest.mark.parametrize("strategy", OF_TRANSFORMERS)
def test_what_an_mlp_has_no_place_for_is_refused_with_models_that_have(
    strategy: str, lab_root: Path
) -> None:
    with pytest.raises(ConfigError, match=r"models (that have them: minilm|with: bert_base)"):
        run(tiny(lab_root, f"adapter={strategy}"))


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in OF_TRANSFORMERS])
def test_every_strategy_runs_and_is_evaluated_again(
    strategy: str, lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over one base: trains, freezes what it should, counts, saves, and gives the same again."""
    seen: dict[str, Any] = {}

    def watched(config: Config, model: Any, *args: Any, **options: Any) -> Training:
        if config.study != "bases":
            seen["before"] = {n: p.clone() for n, p in model.model.named_parameters()}
            seen["adapted"] = model
        return fit(config, model, *args, **options)

    monkeypatch.setattr("adapterlab.runs.single.fit", watched)
    more = [NEEDING[strategy]] if strategy in NEEDING else []
    result = run(tiny(lab_root, f"adapter={strategy}", "study=strategies", *more))

    adapted, before = seen["adapted"], seen["before"]
    trainable = adapted.trainable()
    for name, parameter in adapted.model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in trainable), name
    assert tensors(result).keys() == adapted.state().keys()
    assert tensors(result).keys() >= trainable.keys()
    trained = sum(tensors(result)[name].numel() for name in trainable)
    assert trained == result.metrics["params/trainable"]
    assert result.metrics["params/total"] == sum(p.numel() for p in adapted.parameters())
    assert result.metrics["cost/adapter_bytes"] >= 4 * trained
    if not more:  # else its base is another one
        assert result.metrics["source/accuracy_before"] > 0.2
    assert 0 <= result.metrics["source/accuracy_after"] <= 1
    assert read_metadata(result.folder / "adapter.safetensors")["base_sha256"]

    evaluation = again(result)
    assert evaluation.metrics == {
        name.removeprefix("test/"): value
        for name, value in result.metrics.items()
        if name.startswith("test/")
    }
    assert evaluation.differences() == {}
    source = again(result, "source")
    assert source.metrics["accuracy"] == result.metrics["source/accuracy_after"]
    kept = pq.read_table(result.folder / "source_predictions.parquet")
    assert kept.column_names == ["row", "label", "prediction"]
    right = kept["label"].to_numpy() == kept["prediction"].to_numpy()
    assert right.mean() == result.metrics["source/accuracy_after"]


@pytest.mark.parametrize("strategy", ["lora", "dora"])
def test_the_same_seed_gives_the_same_bits(strategy: str, lab_root: Path, tmp_path: Path) -> None:
    overrides = [
        f"adapter={strategy}",
        "adapter.dropout=0.2",
        "model.dropout=0.1",
        "dataset.crop=1",
    ]
    first = run(tiny(lab_root, *overrides))
    torch.manual_seed(1234)
    np.random.seed(5)
    second = run(tiny(tmp_path, *overrides))  # trains the base anew as well
    assert same(tensors(first), tensors(second))
    assert logits(first) == logits(second)
    for name, value in first.metrics.items():
        assert name.startswith("cost/") or second.metrics[name] == value, name
    third = run(tiny(lab_root, *overrides, "seed=1"))
    assert logits(third) != logits(first)


def test_init_seed_and_order_seed_are_apart(lab_root: Path) -> None:
    runs = {
        seeds: run(tiny(lab_root, "adapter.head=freeze", *seeds.split()))
        for seeds in ("init_seed=0 order_seed=0", "init_seed=1 order_seed=0", "order_seed=1")
    }
    assert len({str(logits(result)) for result in runs.values()}) == 3


def test_predictions_have_a_row_an_example(lab_root: Path) -> None:
    result = run(tiny(lab_root, "limit=50", "adapter=head"))
    table = pq.read_table(result.folder / "predictions.parquet")
    assert table.column_names == ["row", "label", "prediction", "logits"]
    columns = table.to_pydict()
    labels = load_data(tiny(lab_root)).target.test.labels
    assert len(set(columns["row"])) == 50
    assert labels[columns["row"]].tolist() == columns["label"]  # a sample of the official split
    assert columns["prediction"] == np.argmax(columns["logits"], axis=1).tolist()
    hits = np.mean(np.equal(columns["prediction"], columns["label"]))
    assert hits == result.metrics["test/accuracy"]
    assert table.schema.metadata[b"classes"].decode().split("\n") == list("0123456789")


def test_the_test_split_is_whole_and_nothing_of_it_is_trained_on(lab_root: Path) -> None:
    assembly = assemble(tiny(lab_root, "limit=null", "base=scratch"), run)
    splits = assembly.data.splits
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [1149, 288, 360]
    rows = {
        name: {bytes(image.numpy().tobytes()) for image in split.images}
        for name, split in splits.items()
    }
    assert len(rows["test"] & (rows["train"] | rows["validation"])) == 0


def test_a_limited_run_says_so(lab_root: Path) -> None:
    result = run(tiny(lab_root, "adapter=head", "limit=60"))
    assert "limited to 60 examples of each split" in result.notes
    assert any("no official test split" in note for note in result.notes)
    assert len(logits(result)) == 60


def test_each_split_has_a_limit_of_its_own(lab_root: Path) -> None:
    config = tiny(lab_root, "adapter=head", "base=scratch", "limit={train: 70, test: 30}")
    data = assemble(config, run).data
    rows = {name: len(split) for name, split in data.splits.items()}
    assert (rows["train"], rows["test"]) == (70, 30)
    assert rows["validation"] > 70  # all that was held out
    result = run(config)
    assert "limited to examples: 70 of train, 30 of test" in result.notes
    assert len(logits(result)) == 30
    assert again(result).differences() == {}


def test_a_limited_run_may_lack_a_class(lab_root: Path) -> None:
    """The recall of a class without examples is left out, and evaluating again agrees."""
    result = run(tiny(lab_root, "adapter=head", "limit=5", "base=scratch"))
    recalls = [name for name in result.metrics if name.startswith("test/recall/")]
    assert 0 < len(recalls) < 10
    assert again(result).differences() == {}


def test_fast_dev_run_goes_through_everything_in_two_batches(lab_root: Path) -> None:
    result = run(tiny(lab_root, "fast_dev_run=true", "batch_size=16", "limit=null", "epochs=30"))
    assert result.metrics["best/epoch"] == 1
    assert len(logits(result)) == 32
    assert result.missing["cost/samples_per_second"].startswith("the training has no more than")
    assert again(result).differences() == {}


def test_double_precision_is_double_all_the_way(lab_root: Path) -> None:
    result = run(tiny(lab_root, "hardware.precision=64-true", "adapter=dora"))
    assert {t.dtype for t in tensors(result).values()} == {torch.float64}
    assert again(result).differences() == {}


def test_bfloat16_trains_and_is_evaluated_in_full_precision(lab_root: Path) -> None:
    result = run(tiny(lab_root, "hardware.precision=bf16-mixed"))
    assert {t.dtype for t in tensors(result).values()} == {torch.float32}
    assert again(result).differences() == {}


def test_every_metric_that_is_promised(lab_root: Path) -> None:
    result = run(tiny(lab_root, "epochs=8", "batch_size=16"))
    promised = {f"test/{name}" for name in ("accuracy", "macro_f1", "nll", "ece", "brier")}
    promised |= {"test/mcc", "test/balanced_accuracy"}
    promised |= {f"test/recall/{digit}" for digit in range(10)}
    promised |= {"source/accuracy_before", "source/accuracy_after", "target/accuracy_before"}
    promised |= {f"params/{name}" for name in ("adapter", "head", "trainable", "total")}
    promised |= {f"cost/{name}" for name in ("samples_per_second", "wall_seconds")}
    promised |= {"cost/train_seconds", "cost/peak_memory_mib", "cost/adapter_bytes"}
    assert promised <= result.metrics.keys()
    assert result.missing == {}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_other_splits_are_evaluated_too(split: str, lab_root: Path) -> None:
    result = run(tiny(lab_root, "adapter=lora", "study=strategies"))
    evaluation = again(result, split)
    if split == "validation":
        assert evaluation.metrics["accuracy"] == result.metrics["best/val_accuracy"]
    assert 0 < evaluation.metrics["accuracy"] < 1


def test_an_adapter_is_refused_over_another_base(lab_root: Path) -> None:
    result = run(tiny(lab_root, "adapter=lora", "study=refused"))
    path = result.folder / "config.yaml"
    head, base, rest = path.read_text().partition("base:\n")
    path.write_text(head + base + rest.replace("epochs: 2", "epochs: 1", 1))
    with pytest.raises(AdapterLabError, match="other base weights"):
        again(result)


@pytest.mark.parametrize("strategy", ["full", "lora"])
def test_zero_shot_is_the_base_that_was_not_trained(strategy: str, lab_root: Path) -> None:
    kept = ("adapter.head=freeze", "study=zero")
    still = run(tiny(lab_root, f"adapter={strategy}", "optimizer.lr=1e-30", *kept))
    before = still.metrics["target/accuracy_before"]
    assert before == still.metrics["test/accuracy"]
    moved = run(tiny(lab_root, f"adapter={strategy}", "optimizer.lr=0.01", *kept))
    assert moved.metrics["target/accuracy_before"] == before != moved.metrics["test/accuracy"]


def test_a_new_head_has_no_zero_shot(lab_root: Path) -> None:
    result = run(tiny(lab_root, "base.head=new"))
    why = "the head is new: the base has none for these classes"
    assert result.missing["target/accuracy_before"] == why


def test_no_source_is_missing_with_a_reason(lab_root: Path) -> None:
    result = run(tiny(lab_root, "base=scratch"))
    for name in ("source/accuracy_before", "source/accuracy_after"):
        assert result.missing[name] == "trained from scratch: there is no source task"
    assert not (result.folder / "source_predictions.parquet").exists()
    same_task = run(tiny(lab_root, "base.source=digits_rotated"))
    assert "same task" in same_task.missing["source/accuracy_after"]
    with pytest.raises(AdapterLabError, match="split=source: trained from scratch"):
        again(result, "source")


def test_another_rotation_is_another_task(lab_root: Path) -> None:
    """Same name, other images: it is the loader and its options that make a task."""
    result = run(
        tiny(lab_root, "dataset=digits", "dataset.loader.rotation=180", "base.source=digits")
    )
    assert result.metrics["source/accuracy_before"] > 0


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigError, match="sees no CUDA device"):
        run(tiny(tmp_path, "hardware=gpu"))
    assert list(tmp_path.iterdir()) == []
