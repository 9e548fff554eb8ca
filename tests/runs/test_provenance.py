"""A run is what it computed, on what: other data, base weights or another tokenizer are noticed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import BertConfig, BertForSequenceClassification

from adapterlab.config.schema import Config
from adapterlab.data.tokenizer import train_wordpiece
from adapterlab.runs import single
from adapterlab.runs.base_weights import base_run
from adapterlab.runs.data import load_data
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.folders.homes import home_of, homes, latest_home
from adapterlab.runs.folders.integrity import seal
from adapterlab.runs.provenance import TAGS, Provenance, foreseen, read_provenance
from adapterlab.runs.state import finished_run
from adapterlab.training.fit import fit
from adapterlab.training.steps import AfterEpoch
from adapterlab.training.training_state import TrainingState
from lab import ONE_PROCESS, TINY, Outcome, compose, tiny, write_idx
from power_cuts import cut_in
from reviews import write_reviews

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the epochs that target tasks are trained for."""
    done: list[int] = []

    def noted(config: Config, *args: Any, after_epoch: AfterEpoch, **more: Any) -> Any:
        def note(state: TrainingState) -> None:
            if config.study != "bases":
                done.append(state.epochs)
            after_epoch(state)

        return fit(config, *args, after_epoch=note, **more)

    monkeypatch.setattr("adapterlab.runs.single.fit", noted)
    return done


def write_model(folder: Path, seed: int = 0) -> None:
    """Write a small random BERT and its tokenizer, as a package or the hub has them."""
    texts = [f"a {word} film" for word in ("good", "fine", "bad", "poor")]
    tokenizer = train_wordpiece(texts, 96)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=24,
        )
    ).save_pretrained(folder)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the package that MiniLM is installed in."""
    folder = tmp_path / "package"
    write_model(folder)
    monkeypatch.setattr("adapterlab.models.hub.minilm_source", lambda: str(folder))
    return folder


def of_texts(tmp_path: Path, *overrides: str) -> Config:
    reviews = tmp_path / "reviews"
    if not reviews.is_dir():
        write_reviews(reviews)
    usual = [option for option in TINY if not option.startswith(("limit", "epochs", "base"))]
    return compose(
        tmp_path, *usual, "dataset=text_files", f"dataset.loader.path={reviews}", "model=minilm",
        "dataset.max_length=16", "batch_size=16", "resume=true", "epochs=3", *overrides,
    )  # fmt: skip


def other_data(tmp_path: Path) -> None:
    write_reviews(tmp_path / "reviews", seed=1)


def one_label(tmp_path: Path) -> None:
    path = tmp_path / "reviews" / "train.csv"
    path.write_text(path.read_text().replace(",bad\n", ",good\n", 1))


def other_weights(tmp_path: Path) -> None:
    path = tmp_path / "package" / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if "layer.0" in name)
    tensors[name][0] += 0.01
    save_file(tensors, path, {"format": "pt"})


def other_architecture(tmp_path: Path) -> None:
    path = tmp_path / "package" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_act": "relu"}))


def other_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "package" / "tokenizer.json"
    text = path.read_text()
    assert '"lowercase":true' in text.replace(" ", "")
    path.write_text(text.replace('"lowercase": true', '"lowercase": false'))


CHANGES = {
    "other texts": (other_data, "other data"),
    "one label": (one_label, "other data"),
    "a tensor": (other_weights, "other base weights"),
    "the architecture": (other_architecture, "other base weights"),
    "the tokenizer": (other_tokenizer, "another tokenizer"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_finished_run_is_repeated_where_what_it_read_has_changed(
    case: str,
    tmp_path: Path,
    package: Path,
    epochs: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    change, said = CHANGES[case]
    config = of_texts(tmp_path)
    first = single.run(config)
    assert single.run(config) == first
    assert finished_run(config, load_data(config)) == first
    assert epochs == [1, 2, 3]
    assert not caplog.records
    change(tmp_path)
    assert finished_run(config, load_data(config)) is None
    second = single.run(config)
    assert epochs == [1, 2, 3, 1, 2, 3]
    (warning,) = caplog.messages
    assert f"was computed on {said}; it starts anew" in warning
    before, after = (Provenance.from_tags(result.tags) for result in (first, second))
    assert after.unlike(before) == [said.split(" ", 1)[1]] or "base weights" in said
    assert single.run(config) == second


@pytest.mark.parametrize("case", CHANGES)
def test_an_interrupted_run_does_not_go_on_over_something_else(
    case: str,
    tmp_path: Path,
    package: Path,
    epochs: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    change, said = CHANGES[case]
    config = of_texts(tmp_path)
    cut_in(config, 3)
    change(tmp_path)
    result = single.run(config)
    assert epochs == [1, 2, 3]
    assert f"was computed on {said}; it starts anew" in caplog.text
    assert "cost/train_seconds" not in result.missing


def test_files_that_say_the_same_are_the_same(
    tmp_path: Path, package: Path, epochs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """Written anew, or of another version of transformers, or with another task's labels."""
    config = of_texts(tmp_path)
    cut_in(config, 3)
    path = package / "config.json"
    values = dict(reversed(json.loads(path.read_text()).items()))
    path.write_text(json.dumps(values | {"transformers_version": "4.0.0", "_name_or_path": "x"}))
    for path in (package / "model.safetensors", tmp_path / "reviews" / "train.csv"):
        path.write_bytes(path.read_bytes())
    single.run(config)
    assert epochs == [3]
    assert not caplog.records


def test_what_an_older_version_left_is_taken_as_it_is_and_said(
    tmp_path: Path, package: Path, epochs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    config = of_texts(tmp_path)
    cut_in(config, 3)
    (RunFolder.of(config).path / "provenance.json").unlink()
    result = single.run(config)
    assert epochs == [3]
    assert "whether that is over the same base weights is not known" in caplog.text
    known = {name: value for name, value in result.tags.items() if name not in TAGS.values()}
    older = replace(result, tags={**known, "base_sha256": result.tags["base_sha256"]})
    RunFolder(result.folder).finish(older)
    assert single.run(config) == older
    other_data(tmp_path)
    assert finished_run(config, load_data(config)) is None


def test_a_base_that_was_trained_to_other_weights_is_another(
    tmp_path: Path, epochs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(tmp_path, "resume=true", "epochs=3")
    cut_in(config, 3)
    base = base_run(config)
    assert base is not None
    tensors = load_file(RunFolder.of(base).adapter)
    shutil.copytree(RunFolder.of(base).path, tmp_path / "kept")
    tensors["layers.0.weight"] += 0.001
    with safe_open(RunFolder.of(base).adapter, "pt") as file:
        metadata = file.metadata()
    save_file(tensors, RunFolder.of(base).adapter, metadata)
    seal(RunFolder.of(base))  # as another machine would have left it
    single.run(config)
    assert epochs == [1, 2, 3]
    assert "was computed on other base weights; it starts anew" in caplog.text
    assert finished_run(config, load_data(config)) is not None
    shutil.rmtree(RunFolder.of(base).path)
    assert finished_run(config, load_data(config)) is not None  # nothing says otherwise
    shutil.copytree(tmp_path / "kept", RunFolder.of(base).path)
    assert finished_run(config, load_data(config)) is None


def test_the_same_run_in_two_places_leaves_the_same_files(tmp_path: Path) -> None:
    configs = [tiny(tmp_path / place, "tracking=none") for place in "ab"]
    results = [single.run(config) for config in configs]
    bases = [RunFolder.of(base).path for config in configs if (base := base_run(config))]
    peft = ("peft/adapter_model.safetensors", "peft/adapter_config.json")
    for name in ("adapter.safetensors", *peft):
        one, other = ((result.folder / name).read_bytes() for result in results)
        assert one == other
    one, other = ((folder / "adapter.safetensors").read_bytes() for folder in bases)
    assert one == other
    tags = results[0].tags
    assert Provenance.from_tags(tags) == Provenance.from_tags(results[1].tags)
    assert Provenance.from_tags(tags).weights
    assert tags["hardware.threads"] == "1"
    for name in ("hardware.cpu_capability", "hardware.torch_build", "version.numpy", "code_hash"):
        assert tags[name]


def on_idx(root: Path, data: Path, *overrides: str) -> Config:
    return tiny(root, "dataset=mnist", "base=scratch", f"data_dir={data}", *overrides)


def test_one_configuration_on_two_data_sets_has_two_folders(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        write_idx(tmp_path / name / "MNIST" / "raw", number)
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    results = {name: single.run(on_idx(tmp_path, tmp_path / name)) for name in "abc"}
    folders = {name: result.folder for name, result in results.items()}
    assert folders["a"] == folders["c"] != folders["b"]
    assert results["a"].metrics["test/nll"] == results["c"].metrics["test/nll"]
    assert results["a"].metrics["test/nll"] != results["b"].metrics["test/nll"]
    for name, folder in folders.items():
        config = on_idx(tmp_path, tmp_path / name, "resume=true")
        assert latest_home(config).path == folder
        finished = finished_run(config, load_data(config))
        assert finished is not None
        assert finished.folder == folder
    config = on_idx(tmp_path, tmp_path / "b")
    assert [home.path for home in homes(config)] == [folders["a"], folders["b"]]
    shutil.rmtree(folders["a"])
    assert home_of(config, load_data(config).hash).path == folders["b"]


@pytest.mark.parametrize("launcher", ONE_PROCESS)
def test_a_sweep_over_folders_of_data_runs_each(
    launcher: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    for number, name in enumerate("ab"):
        write_idx(tmp_path / name / "MNIST" / "raw", number)
    root = tmp_path / "root"
    alone = [single.run(on_idx(tmp_path / "alone", tmp_path / name)) for name in "ab"]
    folders = ",".join(str(tmp_path / name) for name in "ab")
    overrides = (
        "limit=96", "epochs=2", "hardware=cpu", "hardware.threads=1", "optimizer.lr=0.01",
        "hardware.precision=32-true", "dataset=mnist", "base=scratch", "study=two", "report=false",
    )  # fmt: skip
    how = (f"hydra/launcher={launcher}", *ONE_PROCESS[launcher])
    outcome = run_cli("-m", *overrides, f"data_dir={folders}", *how, root=root)
    assert outcome.code == 0, outcome
    found = [RunFolder(path).finished() for path in (root / "mlruns" / "runs" / "two").iterdir()]
    assert {result.data_hash: result.metrics["test/nll"] for result in found if result} == {
        result.data_hash: result.metrics["test/nll"] for result in alone
    }


def test_what_is_not_known_contradicts_nothing() -> None:
    one = Provenance(data="d", weights="w", base="b")
    assert one.unlike(Provenance(data="d")) == []
    assert one.unlike(Provenance(data="d", weights="w", tokenizer="t", base="b")) == []
    assert one.unlike(Provenance(data="e", weights="x", base="c")) == ["data", "base weights"]
    assert Provenance.from_tags(one.tags()) == one
    assert set(Provenance().tags()) == set()


def test_a_folder_that_was_never_started_says_nothing(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    assert read_provenance(home_of(config, "some")) is None
    assert home_of(config, "some") == RunFolder.of(config)
    assert home_of(config, "other") != RunFolder.of(config)
    assert home_of(config, "some") == RunFolder.of(config)
    assert foreseen(config, load_data(config)).data == load_data(config).hash
