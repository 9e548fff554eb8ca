"""Whole runs on texts: a small random BERT over small files, from the command line's options."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from adapterlab.config import conf_folder
from adapterlab.config.schema import Base, PretrainedBase, ScratchBase
from adapterlab.runs import single
from adapterlab.runs.assembly import assemble
from adapterlab.runs.base_weights import base_run
from adapterlab.runs.check import check
from adapterlab.runs.identity import config_hash
from adapterlab.runs.plan_warnings import high_rate
from adapterlab.runs.single import run
from lab import Outcome, tiny
from reviews import SMALL, evaluated, logits, small, write_reviews

pytestmark = pytest.mark.usefixtures("no_pictures")

# `continued` needs an adapter of PEFT's: test_peft_base.py has one.
STRATEGIES = sorted(
    {path.stem for path in (conf_folder.CONF / "adapter").glob("*.yaml")} - {"continued"}
)
NEEDING = {
    "prompt": "adapter.num_virtual_tokens=2",
    "fourierft": "adapter.n_frequency=20",
    "lora_prompt": "adapter.parts.prompt.num_virtual_tokens=2",
}
"""What makes room for the vectors of a prompt beside short texts."""


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("texts") / "reviews")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_runs_and_is_evaluated_again(
    strategy: str, lab_root: Path, reviews: Path
) -> None:
    more = [NEEDING[strategy]] if strategy in NEEDING else []
    result = run(small(lab_root, reviews, f"adapter={strategy}", *more))
    assert result.classes == ("bad", "good")
    assert result.shape == ()
    assert result.metrics["params/trainable"] > 0
    again = evaluated(result)
    assert again == {name: result.metrics[f"test/{name}"] for name in again}


def test_classes_without_an_example_and_weights_beside_the_updates(
    lab_root: Path, tmp_path: Path
) -> None:
    """What published experiments did by mistake: they run to the end, and their figures say it."""
    files = write_reviews(tmp_path / "tweet_sentiment", good="positive", bad="negative")
    shutil.copy(files / "train.csv", files / "validation.csv")
    config = tiny(
        lab_root,
        "limit=null",
        f"data_dir={tmp_path}",
        "dataset=tweet_sentiment",
        "dataset.classes=[negative,neutral,positive,absent_3]",
        "+dataset.loader.absent_classes=1",
        "base=scratch",
        *SMALL,
        "adapter.targets=[query,value]",
        "adapter.also_train=['*','!*attention*']",
    )
    result = run(config)
    assert result.classes == ("negative", "neutral", "positive", "absent_3")
    recalls = {name for name in result.metrics if name.startswith("test/recall/")}
    assert recalls == {"test/recall/negative", "test/recall/positive"}
    assert 0 < result.metrics["test/macro_f1"] <= 0.5  # neutral and absent_3 count as 0
    assert "1 of the 4 classes have no example; each counts as 0 in macro_f1" in result.notes
    saved = load_file(result.folder / "adapter.safetensors")
    assert "model.bert.embeddings.word_embeddings.weight" in saved
    assert not any("attention" in name for name in saved if "lora_" not in name)
    assert not (result.folder / "peft").exists()
    again = evaluated(result, data_dir=tmp_path)
    assert again == {name: result.metrics[f"test/{name}"] for name in again}


def test_a_finished_run_keeps_no_checkpoints(lab_root: Path, reviews: Path) -> None:
    result = run(small(lab_root, reviews, "adapter=head"))
    assert not (result.folder / "checkpoints").exists()


def test_it_learns_what_the_texts_say(lab_root: Path, reviews: Path) -> None:
    result = run(small(lab_root, reviews, "adapter=full", "epochs=15", "optimizer.lr=0.003"))
    assert result.metrics["test/accuracy"] > 0.9


def test_predictions_are_in_the_order_of_the_file(lab_root: Path, reviews: Path) -> None:
    """They are computed longest text first."""
    result = run(small(lab_root, reviews, "adapter=head"))
    with (reviews / "test.csv").open(newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    table = pq.read_table(result.folder / "predictions.parquet")
    assert [result.classes[i] for i in table["label"].to_pylist()] == labels
    lengths = [len(text.split()) for text in _texts(reviews)]
    assert lengths != sorted(lengths, reverse=True)


def _texts(reviews: Path) -> list[str]:
    with (reviews / "test.csv").open(newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("option", ["dataset.pad_to_max=true", "dataset.length_bucketing=false"])
def test_how_texts_are_batched_does_not_change_what_a_model_says(
    option: str, lab_root: Path, reviews: Path
) -> None:
    usual = small(lab_root, reviews, "hardware.precision=64-true")
    other = small(lab_root, reviews, "hardware.precision=64-true", option)
    before, after = (assemble(config, run) for config in (usual, other))
    device = torch.device("cpu")
    one = single.predict(before.adapted, before.data, "test", device).logits
    two = single.predict(after.adapted, after.data, "test", device).logits
    torch.testing.assert_close(torch.tensor(one), torch.tensor(two), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "strategy", [("head",), ("last_layers",), ("lora", "adapter.layers=last 1")]
)
def test_the_frozen_prefix_changes_no_result(
    strategy: tuple[str, ...], lab_root: Path, reviews: Path
) -> None:
    options = (f"adapter={strategy[0]}", *strategy[1:], "hardware.precision=64-true", "epochs=3")
    never = run(small(lab_root, reviews, *options, "hardware.frozen_prefix=never"))
    used = run(small(lab_root, reviews, *options, "study=prefix"))
    assert never.tags["frozen_prefix"] == "off: hardware.frozen_prefix=never"
    layers = "2 layers" if strategy[0] == "head" else "1 layer"
    assert used.tags["frozen_prefix"].startswith(layers)
    again = run(small(lab_root, reviews, *options, "study=again"))
    assert ", found in " in again.tags["frozen_prefix"]
    assert any("an earlier run had computed" in note for note in again.notes)
    assert torch.equal(logits(again), logits(used))
    torch.testing.assert_close(logits(used), logits(never), rtol=0, atol=1e-10)
    for epoch, metrics in used.history.items():
        assert metrics == pytest.approx(never.history[epoch], rel=1e-10)


def test_where_there_is_no_frozen_prefix_the_run_says_why(lab_root: Path, reviews: Path) -> None:
    result = run(small(lab_root, reviews, "adapter=bitfit"))
    assert result.tags["frozen_prefix"].startswith("off: the strategy trains")
    result = run(small(lab_root, reviews, "adapter=head", "model.frozen_dropout=true"))
    assert "frozen_dropout" in result.tags["frozen_prefix"]


def test_whether_the_prefix_is_kept_is_no_other_run(lab_root: Path, reviews: Path) -> None:
    on = small(lab_root, reviews, "adapter=head")
    off = small(lab_root, reviews, "adapter=head", "hardware.frozen_prefix=never")
    assert config_hash(on) == config_hash(off)


def test_truncation_is_counted_and_said(lab_root: Path, reviews: Path) -> None:
    result = run(small(lab_root, reviews, "adapter=head", "dataset.max_length=8"))
    assert result.metrics["data/truncated_texts/test"] == 16  # every third of 48
    assert any(
        note.startswith("reviews-") and "test: 16 of 48 texts have more than 8 tokens" in note
        for note in result.notes
    )
    whole = run(small(lab_root, reviews, "adapter=head"))
    assert whole.metrics["data/truncated_texts/test"] == 0
    assert not any("tokens" in note for note in whole.notes)


def test_a_base_trained_on_other_texts_brings_its_vocabulary(tmp_path: Path) -> None:
    """The tokenizer belongs to the base, so both tasks go through the source's."""
    source = write_reviews(tmp_path / "data" / "imdb", seed=1, good="pos", bad="neg")
    target = write_reviews(tmp_path / "target")
    config = small(
        tmp_path, target, "base=trained", "base.source=imdb", "base.epochs=1",
        f"data_dir={source.parent}", "adapter=lora", "epochs=1", "model.max_tokens=256",
    )  # fmt: skip
    result = run(config)
    assert result.tags["base"].startswith("trained on imdb")
    assert result.metrics.keys() >= {"source/accuracy_before", "source/accuracy_after"}
    (base,) = (tmp_path / "mlruns" / "runs" / "bases").iterdir()
    weights = load_file(base / "adapter.safetensors")
    assembly = assemble(config, run)
    own = assembly.adapted.model.state_dict()
    name = "model.bert.embeddings.word_embeddings.weight"
    assert torch.equal(own[name], weights[name])
    vocabulary = assembly.inputs.tokenizer.get_vocab()  # type: ignore[union-attr]
    assert {"lovely", "awful"} <= vocabulary.keys()


def test_a_model_with_weights_of_its_own_is_trained_on_from_them(
    tmp_path: Path, reviews: Path
) -> None:
    config = small(tmp_path, reviews, "base=trained", "base.source=emotion")
    base = base_run(config)
    assert base is not None
    assert base.base.kind == "scratch"
    model = {"name": "hf", "_target_": "adapterlab.models.hub.hf", "name_or_path": "someone/model"}
    base = base_run(replace(config, model={**model, "tokenizer": config.model["tokenizer"]}))
    assert base is not None
    assert base.base.kind == "pretrained"


def test_random_weights_are_called_that(lab_root: Path, reviews: Path) -> None:
    result = run(small(lab_root, reviews, "adapter=head"))
    assert result.tags["base"] == "random weights"
    assert any("random weights" in note for note in result.notes)


def test_adapters_are_kept_in_pefts_format_where_it_has_one(lab_root: Path, reviews: Path) -> None:
    lora = run(small(lab_root, reviews, "adapter=lora"))
    files = {path.name for path in (lora.folder / "peft").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    values = json.loads((lora.folder / "peft" / "adapter_config.json").read_text())
    assert (values["peft_type"], values["r"]) == ("LORA", 8)
    assert not (run(small(lab_root, reviews, "adapter=bitfit")).folder / "peft").exists()


def test_mistakes_come_with_their_texts(lab_root: Path, reviews: Path) -> None:
    result = run(small(lab_root, reviews, "adapter=head"))
    table = pq.read_table(result.folder / "predictions.parquet").to_pydict()
    with (result.folder / "mistakes" / "confidently_wrong.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = {r for r, y, p in zip(*(table[k] for k in ("row", "label", "prediction"))) if y != p}  # noqa: B905
    assert {int(row["row"]) for row in rows} == wrong
    texts = _texts(reviews)
    assert all(row["text"] == texts[int(row["row"])] for row in rows)


def test_a_resumed_run_computes_nothing_twice(
    lab_root: Path, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(lab_root, reviews, "adapter=head", "seed=4", "resume=true")
    first = run(config)
    monkeypatch.setattr(
        "adapterlab.runs.single.fit",
        lambda *_, **__: pytest.fail("it was trained again"),
    )
    assert run(config).metrics == first.metrics


def test_other_texts_in_the_same_files_are_another_run(tmp_path: Path) -> None:
    config = small(tmp_path, write_reviews(tmp_path / "own"), "adapter=head", "resume=true")
    first = run(config)
    write_reviews(tmp_path / "own", seed=5)
    second = run(config)
    assert first.data_hash != second.data_hash


def test_a_plan_needs_neither_weights_nor_texts(run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli(
        "model=bert_tiny", "dataset=imdb", "adapter.targets=[query,value]", "plan=true"
    )
    assert outcome.code == 0, outcome.err
    assert "layer.*.attention.self.query (2)" in outcome.out


def test_a_high_rate_for_pretrained_weights_is_said(lab_root: Path, reviews: Path) -> None:
    def said(base: Base, *options: str) -> str | None:
        config = small(lab_root, reviews, "dataset.classes=[bad,good]", *options)
        plan = check(config)
        assert plan is not None
        return high_rate(replace(config, base=base), plan)

    pretrained, scratch = PretrainedBase(kind="pretrained"), ScratchBase(kind="scratch")
    assert "optimizer.lr=0.01 is high" in str(said(pretrained, "adapter=full"))
    assert said(pretrained, "adapter=full", "+optimizer.roles.adapter.lr=1e-5") is None
    of_role = said(pretrained, "adapter=full", "optimizer.lr=1e-5", "+optimizer.roles.adapter.lr=1")
    assert "optimizer.roles.adapter.lr=1 is high" in str(of_role)
    assert said(pretrained, "adapter=full", "optimizer.lr=5e-5") is None
    assert said(pretrained, "adapter=head") is None
    assert said(pretrained, "adapter=lora") is None
    assert said(pretrained, "adapter=ln_tuning") is None
    assert said(scratch, "adapter=full") is None
