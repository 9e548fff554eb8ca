"""Exported models: the run's own logits from the folder alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from exported import (
    LONGEST,
    NAMES,
    WORDS,
    asked,
    export,
    logged,
    pasted,
    source,
    text_run,
    unseen,
    write_texts,
)
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers import __version__ as TRANSFORMERS

from adapterlab.adapters import merge
from adapterlab.app import cli
from adapterlab.base.errors import AdapterLabError
from adapterlab.runs.assembly import assemble
from adapterlab.runs.export.folder import model_folder
from adapterlab.runs.export.merged import compare
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.preprocessing import TextInputs
from adapterlab.runs.saved import rebuild
from adapterlab.runs.single import run
from adapterlab.training.predicting import predict
from lab import Outcome, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize(
    "overrides",
    [
        ["adapter=dora", "adapter.alpha=64"],
        ["adapter=lora", "adapter.head=adapt", "adapter.rank=3", "adapter.dropout=0.2"],
        ["adapter=bitfit", "dataset.pad_to_max=true"],
        ["adapter=full", "hardware.precision=64-true"],
        ["adapter=lora", "base=trained"],
    ],
    ids=" ".join,
)
def test_transformers_alone_give_the_logits_of_the_run(
    overrides: list[str], text_root: Path, tmp_path: Path
) -> None:
    """From texts to logits, with what the folder holds and nothing else."""
    if "base=trained" in overrides:
        if not (text_root / "words").is_dir():
            write_texts(text_root / "words", 60)
        overrides = [*overrides, source(text_root / "words"), "base.epochs=1"]
    result = run(text_run(text_root, *overrides))
    to = tmp_path / "model"
    exported = export(result, to)
    assert exported.agreement.difference <= 1e-6 * exported.agreement.largest
    assert exported.agreement.examples == 27  # 0.3 of 90

    model = AutoModelForSequenceClassification.from_pretrained(to)
    tokenizer = AutoTokenizer.from_pretrained(to)
    cut = tokenizer(unseen(text_root), truncation=True, padding=True, return_tensors="pt")
    assert cut["input_ids"].shape[1] == LONGEST
    with torch.inference_mode():
        found = model(**cut).logits
    assert found.dtype == (torch.float64 if "64-true" in " ".join(overrides) else torch.float32)
    np.testing.assert_allclose(found.numpy(), logged(result), atol=1e-6, rtol=0)
    # The law would hold for any model if all texts had the same logits.
    assert np.ptp(logged(result), axis=0).max() > 1e-4
    assert exported.parameters == sum(p.numel() for p in model.parameters())
    assert not [name for name in load_file(to / "model.safetensors") if "lora" in name]


def test_a_pipeline_names_the_classes(of_texts: RunResult, text_root: Path, tmp_path: Path) -> None:
    to = tmp_path / "model"
    exported = export(of_texts, to)
    classes = tuple(sorted(NAMES))
    config = json.loads((to / "config.json").read_text())
    assert config["id2label"] == {str(i): name for i, name in enumerate(classes)}
    assert config["label2id"] == {name: i for i, name in enumerate(classes)}
    assert config["problem_type"] == "single_label_classification"
    scores = pasted(exported)["classify"](unseen(text_root))
    logits = logged(of_texts)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert [score["label"] for score in scores] == [classes[i] for i in logits.argmax(1)]
    assert [score["score"] for score in scores] == pytest.approx(shares.max(1), abs=1e-6)


def test_the_tokenizer_comes_back_as_it_was(
    of_texts: RunResult, text_root: Path, tmp_path: Path
) -> None:
    to = tmp_path / "model"
    shutil.rmtree(text_root / "mlruns" / "cache")  # so that the tokenizer has been used before
    export(of_texts, to)
    inputs = rebuild(asked(of_texts, to)).assembly.inputs
    assert isinstance(inputs, TextInputs)
    ours, theirs = inputs.tokenizer, AutoTokenizer.from_pretrained(to)
    texts = [" ".join(words) for words in WORDS]
    texts += [
        "",
        " \t",
        "é e\u0301",
        "\u202eabc\u202c שלום",
        "[MASK] x",
        "zzz 🦖",
        "雨 👩‍👩‍👧" * 40,
    ]
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    assert theirs.model_max_length == LONGEST
    cut = theirs(texts, truncation=True)["input_ids"]
    assert cut == ours(texts, truncation=True, max_length=LONGEST)["input_ids"]
    assert max(map(len, cut)) == LONGEST
    assert theirs.get_vocab() == ours.get_vocab()
    assert json.loads((to / "tokenizer.json").read_text())["truncation"] is None


@pytest.mark.parametrize(
    "overrides",
    [
        ["adapter=lora", "study=exported", "resume=true"],
        ["adapter=dora", "hardware.precision=64-true"],
        ["adapter=head", "base=scratch", "model.widths=[9, 7]", "model.activation=gelu"],
    ],
    ids=" ".join,
)
def test_images_load_as_a_plain_model(overrides: list[str], lab_root: Path, tmp_path: Path) -> None:
    config = tiny(lab_root, *overrides)
    result = run(config)
    to = tmp_path / 'it\'s "a" [model] 模型'
    exported = export(result, to)
    assert exported.files == ("README.md", "config.json", "model.safetensors")
    assert exported.size == sum(path.stat().st_size for path in to.iterdir())

    values = json.loads((to / "config.json").read_text())
    exact = "hardware.precision=64-true" in overrides
    assert values["dtype"] == ("float64" if exact else "float32")
    assert (values["input_shape"], values["classes"]) == ([1, 8, 8], list("0123456789"))
    names = pasted(exported)
    images = assemble(config, run).examples
    pixels = cast(Any, images).images.double() / 255
    inputs = (pixels - torch.tensor(values["mean"])) / torch.tensor(values["std"])
    model = names["model"]
    assert not model.training
    with torch.inference_mode():
        found = model(inputs.to(next(model.parameters()).dtype)).numpy()
    np.testing.assert_allclose(found, logged(result), atol=1e-5, rtol=1e-5)
    assert exported.agreement.difference <= (1e-12 if exact else 1e-5)


def test_a_run_starts_from_an_exported_model_of_images(
    of_images: RunResult, lab_root: Path, tmp_path: Path
) -> None:
    export(of_images, tmp_path / "model")
    path = f"base.path={tmp_path / 'model' / 'model.safetensors'}"
    config = tiny(lab_root, "adapter=lora", "base=checkpoint", path, "base.head=keep")
    assembly = assemble(config, run)  # the adapter is the identity at the start
    found = predict(assembly.adapted, assembly.data, "test", torch.device("cpu")).logits
    np.testing.assert_allclose(found, logged(of_images), atol=1e-5)


def test_a_run_starts_from_an_exported_model_of_texts(
    of_texts: RunResult, text_root: Path, tmp_path: Path
) -> None:
    """And may not be exported onto it: the run could not be rebuilt any more."""
    first, second = tmp_path / "first", tmp_path / "second"
    export(of_texts, first)
    hf = ("model=hf", f"model.name_or_path={first}")
    result = run(text_run(text_root, "adapter=lora", model=hf))
    with pytest.raises(AdapterLabError, match=r"holds the run's own base \(model.name_or_path="):
        export(result, first, overwrite=True)
    export(result, second)
    # What the base knows as private, where it lay, is not on the card.
    assert str(tmp_path) not in (second / "README.md").read_text()
    assert "hf, pretrained (first)" in (second / "README.md").read_text()


def test_the_difference_is_the_largest_between_two_logits(
    of_images: RunResult, tmp_path: Path
) -> None:
    rebuilt = rebuild(asked(of_images, tmp_path))
    adapted, other = rebuilt.assembly.adapted, merge(rebuilt.assembly.adapted)
    with torch.no_grad():
        cast(Any, other).head.bias[3] -= 0.5
    data = model_folder(rebuilt).first(7)
    agreement = compare(adapted, other, data, torch.device("cpu"))
    assert agreement.difference == pytest.approx(0.5, abs=1e-5)
    assert agreement.examples == 7
    logits = predict(adapted, rebuilt.assembly.data, "validation", torch.device("cpu")).logits
    assert agreement.largest == pytest.approx(np.abs(logits[:7]).max())


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_the_first_rows_are_the_first_rows(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    result = request.getfixturevalue(f"of_{kind}")
    rebuilt = rebuild(asked(result, tmp_path))
    adapted, device = rebuilt.assembly.adapted, torch.device("cpu")
    whole = predict(adapted, rebuilt.assembly.data, "validation", device)
    some = predict(adapted, model_folder(rebuilt).first(5), "validation", device)
    np.testing.assert_allclose(some.logits, whole.logits[:5], atol=1e-6)
    assert some.labels.tolist() == whole.labels[:5].tolist()


def test_from_mlflow_by_its_id(
    run_cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's own folder is not needed."""
    config = tiny(tmp_path, "adapter=lora", "base=scratch", "tracking=mlflow")
    result = run(config)
    RunFolder.of(config).path.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    arguments = [f"run={result.run_id}", "to=deep/model", "hardware=cpu", "hardware.threads=1"]
    outcome = run_cli(*arguments, "examples=9", program=cli.export)
    assert (outcome.code, outcome.err) == (0, "")
    to = tmp_path / "deep" / "model"
    lines = dict(line.split(": ", 1) for line in outcome.out.splitlines())
    shown = {name: value.strip() for name, value in lines.items()}
    assert shown["merged model of"] == result.name
    assert shown["written to"] == str(to)
    size = sum(path.stat().st_size for path in to.iterdir())
    assert shown["files"] == f"README.md, config.json, model.safetensors: {size:,} bytes"
    assert shown["parameters"] == f"{64 * 128 + 128 + 128 * 10 + 10:,}"
    assert "over 9 examples" in shown["logits"]
    names: dict[str, Any] = {}
    exec(shown["load it"], names)
    weights = load_file(to / "model.safetensors")
    assert torch.equal(names["model"].head.weight, weights["head.weight"])
    assert result.run_id is not None
    assert result.run_id in (to / "README.md").read_text()


def test_the_card_says_what_the_run_knows(of_texts: RunResult, tmp_path: Path) -> None:
    exported = export(of_texts, tmp_path / "model")
    card = (exported.folder / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert front == "library_name: transformers\npipeline_tag: text-classification\n"
    assert body.startswith(f"# {of_texts.name}\n")
    assert "- base model: bert_tiny, random weights\n" in body
    assert "- strategy: lora (rank=8, alpha=16, targets=all-linear, " in body
    assert "- data set: texts-" in body
    assert "- classes: `fröhlich 😀`, `sad|bad`, `غاضب`\n" in body
    accuracy = of_texts.metrics["test/accuracy"]
    assert f"- accuracy on the test split: {accuracy:.4f}, as the run logged\n" in body
    assert f"transformers {TRANSFORMERS}" in body
    assert f"over the first {exported.agreement.examples} examples of the validation split" in body
    assert f"more than {LONGEST} tokens are cut off" in body
    for note in of_texts.notes:
        assert f"- {note}" in body
    assert str(tmp_path) not in body
