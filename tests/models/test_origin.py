"""Which files a model comes from, and when a hash says that they have changed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterlab.models import hub
from adapterlab.models.origin import folder_of, here, model_hash, says_what_it_reads, state_of

CONFIG = {"model_type": "bert", "hidden_act": "gelu", "transformers_version": "5.0"}


def write(folder: Path, **files: bytes) -> Path:
    """Write a model's folder; ``model__safetensors`` is ``model.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"config__json": json.dumps(CONFIG).encode(), **files}.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def sharded(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"wei")
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"ghts")


def edited(**entries: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        values = {**CONFIG, **entries}
        (folder / "config.json").write_text(json.dumps(dict(reversed(values.items())), indent=1))

    return edit


OTHER: dict[str, Callable[[Path], None]] = {
    "weights": lambda folder: (folder / "model.safetensors").write_bytes(b"Weights"),
    "weights of another length": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "weights in parts": sharded,
    "an activation": edited(hidden_act="relu"),
    "a size": edited(hidden_size=3),
}

SAME: dict[str, Callable[[Path], None]] = {
    "another version": edited(transformers_version="4.1", _name_or_path="x", dtype="float32"),
    "another task's labels": edited(id2label={"0": "spam"}, label2id={"spam": 0}),
    "weights once more as a pickle": lambda folder: (folder / "pytorch_model.bin").write_bytes(
        b"p"
    ),
    "a page about it": lambda folder: (folder / "README.md").write_bytes(b"about"),
    "the tokenizer": lambda folder: (folder / "tokenizer.json").write_bytes(b"{}"),
}


@pytest.mark.parametrize("case", [*OTHER, *SAME])
def test_a_model_is_its_architecture_and_its_weights(case: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", model__safetensors=b"weights")
    before = model_hash(folder, weights=True)
    assert (
        model_hash(write(tmp_path / "copy", model__safetensors=b"weights"), weights=True) == before
    )
    (OTHER | SAME)[case](folder)
    assert (model_hash(folder, weights=True) == before) == (case in SAME)


def test_without_weights_the_architecture_alone_counts(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", model__safetensors=b"weights")
    before = model_hash(folder, weights=False)
    OTHER["weights"](folder)
    assert model_hash(folder, weights=False) == before
    OTHER["an activation"](folder)
    assert model_hash(folder, weights=False) != before


def test_a_name_is_the_snapshot_that_the_hub_has_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert here("someone/model") is None
    repository = tmp_path / "models--someone--model"
    hashes = []
    for commit, content in (("1" * 40, b"one"), ("2" * 40, b"two")):
        snapshot = write(repository / "snapshots" / commit, model__safetensors=content)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        assert here("someone/model") == snapshot
        assert folder_of(hub.hf, {"name_or_path": "someone/model"}) == snapshot
        hashes.append(model_hash(snapshot, weights=True))
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize("name", ["no name at all!", "a/b/c", "/nowhere", "./none"])
def test_what_is_no_name_is_nowhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert here(name) is None


def test_a_package_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "package", model__safetensors=b"weights", tokenizer__json=b"{}")
    monkeypatch.setattr(hub, "minilm_source", lambda: str(folder))
    assert folder_of(hub.minilm, {}) == folder_of(hub.minilm_tokenizer, {}) == folder
    assert [name for name, _, _ in state_of(folder)] == [
        "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


def test_loaders_say_what_they_read() -> None:
    for load in (hub.hf, hub.hf_tokenizer, hub.minilm, hub.minilm_tokenizer):
        assert says_what_it_reads(load)
    assert not says_what_it_reads(hub.bert_tiny)
