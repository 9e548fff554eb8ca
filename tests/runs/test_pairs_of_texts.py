"""Runs on pairs of texts: alone, in packs, over a frozen prefix, read back by transformers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
)

from adapterlab.app import cli
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.saved import SavedRun, rebuild
from adapterlab.runs.single import run
from adapterlab.training.predicting import predict
from lab import ONE_THREAD, Outcome, compose

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs that are alike or not; their halves are the same, so that order alone tells some."""
    folder = tmp_path_factory.mktemp("data") / "alike"
    folder.mkdir()
    for split, count in (("train", 60), ("test", 24)):
        rows = []
        for number in range(count):
            one, other = "abcdefgh"[number % 8], "abcdefgh"[(number * 3 + number // 8) % 8]
            first, second = f"{one} {other}", f"{other}" if number % 2 else f"{one} {one} {other}"
            rows.append({"first": first, "second": second, "label": "yes" if number % 2 else "no"})
        lines = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{split}.jsonl").write_text(lines)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT whose weights are large enough for its two types of tokens to tell."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32, num_labels=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    for parameter in model.parameters():
        parameter.data.mul_(10)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def options(pairs: Path, bert: Path) -> list[str]:
    return [
        "dataset=text_files", f"dataset.loader.path={pairs}", "dataset.max_length=16",
        "dataset.loader.text_column=[first,second]", "model=hf", f"model.name_or_path={bert}",
        "epochs=2", "batch_size=8", "optimizer.lr=0.01", "hardware=cpu", "hardware.threads=1",
        "hardware.precision=64-true", "tracking=none", "baseline=never",
    ]  # fmt: skip


def test_a_lane_of_pairs_is_the_run_alone(options: list[str], tmp_path: Path) -> None:
    sweep = [
        [*options, "adapter=lora", f"adapter.rank={rank}", "adapter.layers=last 1"]
        for rank in (1, 2)
    ]
    together = run_pack([compose(tmp_path / "pack", *one) for one in sweep])
    for one, lane in zip(sweep, together, strict=True):
        assert isinstance(lane, RunResult), lane
        alone = run(compose(tmp_path / "alone", *one, "hardware.frozen_prefix=never"))
        assert str(lane.tags["frozen_prefix"]) != str(alone.tags["frozen_prefix"])
        for name in ("test/nll", "test/accuracy", "best/val_loss"):
            assert lane.metrics[name] == pytest.approx(alone.metrics[name], rel=1e-9)


def test_logits_are_those_of_transformers_on_the_two_texts(
    options: list[str], pairs: Path, bert: Path, tmp_path: Path
) -> None:
    result = run(compose(tmp_path, *options, "adapter=head"))
    saved = SavedRun(
        run=str(result.folder), tracking_uri=None, root=str(tmp_path), data_dir=None,
        hardware=ONE_THREAD,
    )  # fmt: skip
    assembly = rebuild(saved).assembly
    own = predict(assembly.adapted, assembly.data, "test", torch.device("cpu")).logits
    model = AutoModelForSequenceClassification.from_pretrained(bert).double().eval()
    model.classifier.load_state_dict(assembly.adapted.model.model.classifier.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(bert)
    rows = [json.loads(line) for line in (pairs / "test.jsonl").read_text().splitlines()]
    encoded = tokenizer(
        [row["first"] for row in rows],
        [row["second"] for row in rows],
        padding=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        expected = model(**encoded).logits
        without = model(**{**encoded, "token_type_ids": 0 * encoded["token_type_ids"]}).logits
    torch.testing.assert_close(torch.from_numpy(own), expected)
    assert float((expected - without).abs().max()) > 0.01


def test_who_evaluates_a_run_is_not_told_how_it_would_train(
    tmp_path: Path, options: list[str], run_cli: Callable[..., Outcome]
) -> None:
    """A classifier that is drawn and then read from the run looked as if it were random."""
    options = [*options, "adapter=last_layers", "adapter.n=1", "epochs=1"]
    trained = run_cli(*options, root=tmp_path)
    assert "not in its weights, drawn" in trained.err + trained.out
    assert "optimizer.lr=0.01 is high" in trained.err + trained.out
    (folder,) = (tmp_path / "mlruns" / "runs" / "single").iterdir()
    evaluated = run_cli(f"run={folder}", program=cli.evaluate, root=tmp_path)
    assert "equal to the logged metrics" in evaluated.out
    assert "drawn" not in evaluated.err + evaluated.out
    assert "is high" not in evaluated.err + evaluated.out
