"""Cache files that a machine without this disk has from MLflow: verified, or made there."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from safetensors.torch import load_file, save_file

from adapterlab.base import cache
from adapterlab.base.files import sha256
from adapterlab.config.schema import Config
from adapterlab.data import tokens
from adapterlab.runs.folder import RunFolder, RunResult
from adapterlab.studies.engine import Task
from adapterlab.studies.execution import outcomes_of
from adapterlab.studies.read_once import ReadOnce
from adapterlab.training.prefix.frozen_layers import FrozenLayers
from lab import mlflow_process, tiny
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


def test_what_is_on_this_disk_is_asked_of_nobody(
    store: dict[str, str], reviews: Path, made: list[str], tmp_path: Path
) -> None:
    carried_out(on(store, small(tmp_path / "a", reviews, *OPTIONS)))
    before = files(store)
    other = small(tmp_path / "a", reviews, *OPTIONS, "order_seed=1")
    carried_out(on({"uri": f"sqlite:///{tmp_path / 'other.db'}"}, other))
    assert made == ALL
    assert files(store) == before
    assert not list((tmp_path / "a" / "mlruns" / "artifacts").rglob("cache"))


@pytest.mark.parametrize("options", ["none", "own", "off", "plan"])
def test_nothing_is_shared_where_nobody_could_have_it(
    options: str, store: dict[str, str], reviews: Path, tmp_path: Path
) -> None:
    config = small(tmp_path / "a", reviews, *OPTIONS)
    if options == "none":
        config = replace(config, tracking=replace(config.tracking, enabled=False, **store))
    elif options == "own":
        mlruns = tmp_path / "a" / "mlruns"
        own = {"uri": f"sqlite:///{mlruns / 'mlflow.db'}", "artifacts": store["artifacts"]}
        config = on(own, config)
    elif options == "off":
        config = on(store, config, share_gib=0.0)
    else:
        ReadOnce()(replace(on(store, config), plan=True))
        assert not (tmp_path / "shared.db").exists()
        return
    carried_out(config)
    assert files(store) == []


def test_a_file_that_is_too_large_is_made_by_each(
    store: dict[str, str],
    reviews: Path,
    made: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gib = 4_000 / 2**30  # between tokens and features
    first = carried_out(on(store, small(tmp_path / "a", reviews, *OPTIONS), share_gib=gib))
    sizes = {file.name: file.stat().st_size for file in files(store)}
    assert sizes
    assert max(sizes.values()) <= 4_000
    assert not [name for name in sizes if name.startswith("prefix-")]
    said = [line for line in caplog.messages if "tracking.share_gib allows" in line]
    assert len(said) == 2
    assert all(
        line.endswith("machines that do not share this disk make their own") for line in said
    )
    second = carried_out(on(store, small(tmp_path / "b", reviews, *OPTIONS), share_gib=gib))
    assert made == [*ALL, *ALL[3:]]
    assert same(first, second)
    # What another has given because it may is refused where it may not.
    caplog.clear()
    carried_out(on(store, small(tmp_path / "c", reviews, *OPTIONS), share_gib=1e-9))
    assert made == [*ALL, *ALL[3:], *ALL]
    assert "allows 1e-09 GiB" in caplog.text


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def one_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


def gone(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("harm", [cut_short, one_byte, gone])
def test_a_file_that_is_not_the_one_logged_is_made_again(
    harm: Callable[[Path], None],
    store: dict[str, str],
    reviews: Path,
    made: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = carried_out(on(store, small(tmp_path / "a", reviews, *OPTIONS)))
    harmed = [f for f in files(store) if "train-tokens" in f.name or f.name.startswith("prefix-")]
    assert len(harmed) == 3
    for file in harmed:
        harm(file)
    second = carried_out(on(store, small(tmp_path / "b", reviews, *OPTIONS)))
    assert made == [*ALL, "train", *ALL[3:]]
    refused = [line for line in caplog.messages if "is not taken from the MLflow run" in line]
    assert len(refused) == 3
    assert same(first, second)
    # What was made again is logged, and found by the next.
    third = carried_out(on(store, small(tmp_path / "c", reviews, *OPTIONS)))
    assert made == [*ALL, "train", *ALL[3:]]
    assert same(first, third)
    assert len(shared_runs(store)) == 2


def forged(file: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change tensors of a cache file and its own checksums, as who knows the format can."""
    entry, metadata = cache._read(file)
    values = {name: tensor.clone() for name, tensor in entry.tensors.items()}
    change(values)
    checksums = {name: cache._checksum(tensor) for name, tensor in values.items()}
    save_file(values, file, metadata | {"checksums": json.dumps(checksums)})


def other_tokens(values: dict[str, torch.Tensor]) -> None:
    values["tokens"][:] = values["tokens"].roll(1)


def unknown_token(values: dict[str, torch.Tensor]) -> None:
    values["tokens"][7] = 2**31 - 1


def other_rows(values: dict[str, torch.Tensor]) -> None:
    values["offsets"][1:-1] += 1


def backwards(values: dict[str, torch.Tensor]) -> None:
    values["offsets"][5] = -3


def fewer(values: dict[str, torch.Tensor]) -> None:
    values["offsets"] = torch.cat([values["offsets"][:1], values["offsets"][2:]])


def of_another_type(values: dict[str, torch.Tensor]) -> None:
    values["tokens"] = values["tokens"].float()


def nothing(values: dict[str, torch.Tensor]) -> None:
    values["values"].zero_()


def no_numbers(values: dict[str, torch.Tensor]) -> None:
    values["values"].fill_(float("nan"))


def narrower(values: dict[str, torch.Tensor]) -> None:
    values["values"] = values["values"][:, 1:].contiguous()


@pytest.mark.parametrize(
    ("which", "change"),
    [
        *[("train-tokens", change) for change in (other_tokens, unknown_token, other_rows)],
        *[("train-tokens", change) for change in (backwards, fewer, of_another_type)],
        *[("prefix-", change) for change in (nothing, no_numbers, narrower)],
    ],
)
def test_a_sound_file_of_something_else_is_refused(
    which: str,
    change: Callable[[dict[str, torch.Tensor]], None],
    store: dict[str, str],
    reviews: Path,
    made: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What who can write to the store, database and all, may put there."""
    first = carried_out(on(store, small(tmp_path / "a", reviews, *OPTIONS)))
    (run,), client = shared_runs(store), MlflowClient(store["uri"])
    for file in files(store):
        if which in file.name:
            forged(file, change)
            tag = f"entry.{file.stem.rpartition('-')[2]}"
            client.set_tag(run.info.run_id, tag, sha256(file))
    second = carried_out(on(store, small(tmp_path / "b", reviews, *OPTIONS)))
    assert "is not taken from the MLflow run" in caplog.text
    assert made == ALL + (["train"] if which == "train-tokens" else ALL[3:])
    assert same(first, second)


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
    options += ("base=scratch", "study=shared", "batch_size=8", "figures=never")
    first = carried_out(on(store, tiny(tmp_path / "a", *options)))

    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("adapterlab.data.sources.image_folder.decode", decode)
    second = carried_out(on(store, tiny(tmp_path / "b", *options)))
    assert same(first, second)
    assert [file.name.rpartition("-")[0] for file in files(store)] == ["pictures"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    database = ("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}")
    kept = ("--artifacts-destination", str(folder / "artifacts"))
    with mlflow_process(folder, "server", *database, *kept, cwd=folder) as uri:
        yield uri


def test_by_a_server_and_without_one(
    server: str,
    reviews: Path,
    made: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = carried_out(on({"uri": server}, small(tmp_path / "a", reviews, *OPTIONS)))
    second = carried_out(on({"uri": server}, small(tmp_path / "b", reviews, *OPTIONS)))
    assert made == ALL
    assert same(first, second)

    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("connection refused")

    monkeypatch.setattr(MlflowClient, "list_artifacts", away)
    monkeypatch.setattr(MlflowClient, "log_artifact", away)
    third = carried_out(on({"uri": server}, small(tmp_path / "c", reviews, *OPTIONS)))
    assert made == [*ALL, *ALL]
    assert same(first, third)
    assert "each machine makes its own: connection refused" in caplog.text
