"""Cache files that a machine without this disk has from MLflow: verified, or made there."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from safetensors.torch import load_file

from adapterlab.base import cache
from adapterlab.base.shared_cache import others_there
from adapterlab.config.schema import Config
from adapterlab.data import tokens
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.studies.sweeps.shared_data import ReadOnce
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.execution import outcomes_of
from adapterlab.tracking.shared_entries import sharing
from adapterlab.training.prefix.frozen_layers import FrozenLayers
from lab import tiny
from reviews import small, write_reviews

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = ("adapter=last_layers", "adapter.n=1", "epochs=2", "figures=never", "study=shared")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("texts") / "reviews")


@pytest.fixture
def store(tmp_path: Path) -> dict[str, str]:
    """A store that machines reach, each with a root of its own."""
    return {"uri": f"sqlite:///{tmp_path / 'shared.db'}", "artifacts": str(tmp_path / "artifacts")}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is tokenised and computed whole, in the order in which it is."""
    whole: list[str] = []
    encode, fill = tokens._encode, FrozenLayers.fill

    def encoded(texts: Any, tokenizer: Any, max_length: int, name: str) -> Any:
        if name:  # some texts are tokenised to compare them
            whole.append(name.rpartition("-")[2])
        return encode(texts, tokenizer, max_length, name)

    def filled(layers: FrozenLayers, *how: Any, title: str | None = None, **more: Any) -> None:
        if title is not None:
            whole.append(title)
        fill(layers, *how, title=title, **more)

    monkeypatch.setattr(tokens, "_encode", encoded)
    monkeypatch.setattr(FrozenLayers, "fill", filled)
    return whole


ALL = [
    *("train", "validation", "test"),
    *("frozen layers of train", "frozen layers of validation"),
]


def on(store: dict[str, str], config: Config, **tracking: Any) -> Config:
    return replace(config, tracking=replace(config.tracking, enabled=True, **store, **tracking))


def carried_out(config: Config) -> RunResult:
    (result,) = outcomes_of(Task((config,), packed=False), ReadOnce(), lambda runs: None)
    assert isinstance(result, RunResult), result
    return result


def shared_runs(store: dict[str, str]) -> list[Any]:
    client = MlflowClient(store["uri"])
    experiment = client.get_experiment_by_name("adapterlab")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.kind = 'shared'"))


def files(store: dict[str, str]) -> list[Path]:
    return sorted(Path(store["artifacts"]).glob("*/artifacts/cache/*.safetensors"))


def same(one: RunResult, other: RunResult) -> bool:
    """Say whether two runs have trained the same, to the last bit."""
    weights = [load_file(RunFolder(result.folder).adapter) for result in (one, other)]
    tested = [{k: v for k, v in r.metrics.items() if k.startswith("test/")} for r in (one, other)]
    return tested[0] == tested[1] and all(
        torch.equal(value, weights[1][name]) for name, value in weights[0].items()
    )


def test_another_root_makes_nothing_itself(
    store: dict[str, str],
    reviews: Path,
    made: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = carried_out(on(store, small(tmp_path / "a", reviews, *OPTIONS)))
    assert made == ALL
    with caplog.at_level(logging.INFO, "adapterlab"):
        second = carried_out(on(store, small(tmp_path / "b", reviews, *OPTIONS)))
    assert made == ALL
    assert caplog.text.count("brought from MLflow") == 5
    assert "an earlier run had computed the frozen prefix" in " ".join(second.notes)
    assert same(first, second)
    (run,) = shared_runs(store)
    assert run.info.status == "FINISHED"
    assert "study" not in run.data.tags  # no report counts it
    here, there = ({f.name for f in files(store)}, tmp_path / "b" / "mlruns" / "cache")
    assert here <= {file.name for file in there.iterdir()}
    assert not list(there.glob(".*"))  # of what was on its way
    carried_out(on(store, small(tmp_path / "b", reviews, *OPTIONS, "order_seed=1")))
    assert made == ALL
    assert len(files(store)) == 5
    assert len(shared_runs(store)) == 1


@pytest.mark.parametrize("where", ["another", "off", "own", "plan", "none"])
def test_it_is_shared_where_others_could_have_it(
    where: str, store: dict[str, str], tmp_path: Path
) -> None:
    config = on(store, tiny(tmp_path / "a"), share_gib=0.0 if where == "off" else 0.25)
    if where == "own":
        own = f"sqlite:///{tmp_path / 'a' / 'mlruns' / 'mlflow.db'}"
        config = replace(config, tracking=replace(config.tracking, uri=own))
    elif where == "plan":
        config = replace(config, plan=True)
    elif where == "none":
        config = replace(config, tracking=replace(config.tracking, enabled=False))
    with sharing(config):
        assert (others_there() is not None) == (where == "another")
    assert others_there() is None


def kept(config: Config, name: str, size: int, made: list[str]) -> torch.Tensor:
    """Keep a tensor in the cache of a run's root, or have it from others."""

    def build() -> cache.Entry:
        made.append(name)
        return cache.Entry({"values": torch.arange(size)}, {})

    with sharing(config):
        folder = config.mlruns / "cache"
        entry = cache.stored(folder, name, ["key", name], build, require=lambda entry: None)
    return entry.tensors["values"]


def test_a_file_that_is_too_large_is_made_by_each(
    store: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[str] = []
    gib = 4_000 / 2**30
    for root in "ab":
        for name, size in (("small", 100), ("large", 1_000)):
            there = kept(on(store, tiny(tmp_path / root), share_gib=gib), name, size, made)
            assert torch.equal(there, torch.arange(size))
    assert made == ["small", "large", "large"]
    assert [file.name.rpartition("-")[0] for file in files(store)] == ["small"]
    said = [line for line in caplog.messages if "tracking.share_gib allows" in line]
    assert len(said) == 2
    assert all(line.startswith("large-") and "would take 7.61e-06 GiB, " in line for line in said)
    # What another has given because it may is not taken where it may not be.
    caplog.clear()
    kept(on(store, tiny(tmp_path / "c"), share_gib=1e-9), "small", 100, made)
    assert made[3:] == ["small"]
    (said_once,) = caplog.messages
    assert said_once.endswith("tracking.share_gib allows 1e-09: each machine makes its own")


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def one_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


def gone(file: Path) -> None:
    file.unlink()


def test_a_file_that_is_not_the_one_logged_is_made_again(
    store: dict[str, str],
    reviews: Path,
    made: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = carried_out(on(store, small(tmp_path / "a", reviews, *OPTIONS)))
    harmed = [f for f in files(store) if "train-tokens" in f.name or f.name.startswith("prefix-")]
    for file, harm in zip(harmed, (cut_short, one_byte, gone), strict=True):
        harm(file)
    second = carried_out(on(store, small(tmp_path / "b", reviews, *OPTIONS)))
    again = [*ALL, "train", *ALL[3:]]
    assert made == again
    refused = [line for line in caplog.messages if "is not taken from the MLflow run" in line]
    assert len(refused) == 3
    assert sum(": is not the file that was logged: " in line for line in refused) == 2
    assert sum("the file is not there" in line for line in refused) == 1
    assert same(first, second)
    # What was made again is logged, and found by the next.
    third = carried_out(on(store, small(tmp_path / "c", reviews, *OPTIONS)))
    assert made == again
    assert same(first, third)
    assert len(shared_runs(store)) == 2


def test_decoded_images_are_had_from_others(
    store: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, count in (("train", 24), ("test", 8)):
        for number in range(count):
            folder = tmp_path / "pictures" / split / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            colour = (10 * number, 255 * (number % 2), 9)
            Image.new("RGB", (8, 8), colour).save(folder / f"{number}.png")
    options = ("dataset=image_folder", f"dataset.loader.path={tmp_path / 'pictures'}")
    first = ReadOnce()(on(store, tiny(tmp_path / "a", *options, "base=scratch")))

    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("adapterlab.data.sources.image_folder.decode", decode)
    second = ReadOnce()(on(store, tiny(tmp_path / "b", *options, "base=scratch")))
    assert second.hash == first.hash
    assert [file.name.rpartition("-")[0] for file in files(store)] == ["pictures"]
