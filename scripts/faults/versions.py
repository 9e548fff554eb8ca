"""A data file, a base's file or a tokenizer changes between two runs, in one small place.

What a run has left, finished or cut, must not pass for the run on what is there now; and where
files were only written anew, it must.
"""

import csv
import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import hydra
import torch
from safetensors.torch import load_file, save_file

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import BertConfig, BertForSequenceClassification

from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config
from adapterlab.data.tokenizer import train_wordpiece
from adapterlab.drawing import pictures
from adapterlab.models.loading import quiet
from adapterlab.runs import single
from adapterlab.training.fit import fit
from faults.trying import TINY, Setting, Trial

COUNT = 60

EPOCHS = 3

WORDS = ("good", "fine", "lovely", "bad", "poor", "dull")

Change = Callable[[Path, random.Random], None]


class _CutError(Exception):
    """Stands for a power cut."""


def tries(setting: Setting) -> Iterator[Trial]:
    """Change one thing a trial, after a run that has finished or was cut."""
    for number in range(setting.count):
        words = list(CHANGES)[number % len(CHANGES)]
        cut = setting.rng.choice([None, *range(1, EPOCHS)])
        yield _tried(setting.root(str(number)), words, cut, setting.rng)


def _tried(root: Path, words: str, cut: int | None, rng: random.Random) -> Trial:
    _write(root)
    config = replace(_config(), root=str(root), dataset=_dataset(root))
    with _watched(root) as (epochs, said):
        _trained(config, cut)
        epochs.clear()
        said.clear()
        CHANGES[words](root, rng)
        single.run(config)
    expected = list(range(1, EPOCHS + 1))
    if words in SAME:
        expected = [] if cut is None else expected[cut:]
    warned = [line for line in said if "starts anew" in line]
    held = epochs == expected and len(warned) == (words not in SAME)
    when = "finished" if cut is None else f"cut after epoch {cut}"
    what = "it starts anew and says so" if words not in SAME else "it is the same run"
    return Trial(words, held, what if held else f"{when}: trained {epochs}, said {said}")


def _trained(config: Config, cut: int | None) -> None:
    """Carry out a run, or the first epochs of it."""

    def cutting(*args: Any, report: Callable[[int, Any], None], **options: Any) -> Any:
        def stop(epoch: int, metrics: Mapping[str, float]) -> None:
            if cut is not None and epoch > cut:
                raise _CutError
            report(epoch, metrics)

        return fit(*args, report=stop, **options)

    with mock.patch("adapterlab.runs.single.fit", cutting):
        try:
            single.run(config)
        except _CutError:
            return


@contextmanager
def _watched(root: Path) -> Iterator[tuple[list[int], list[str]]]:
    """Yield the epochs that are trained and the warnings, and let MiniLM's package be `root`'s."""
    epochs: list[int] = []
    said: list[str] = []

    def noted(*args: Any, report: Callable[[int, Any], None], **options: Any) -> Any:
        def note(epoch: int, metrics: Mapping[str, float]) -> None:
            epochs.append(epoch)
            report(epoch, metrics)

        return fit(*args, report=note, **options)

    handler, log = logging.Handler(logging.WARNING), logging.getLogger("adapterlab")
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    with ExitStack() as patches:
        patches.enter_context(mock.patch("adapterlab.runs.single.fit", noted))
        package = str(root / "package")
        source = mock.patch("adapterlab.models.hub.minilm_source", return_value=package)
        patches.enter_context(source)
        patches.enter_context(mock.patch.object(pictures, "paint", lambda make, path: path.touch()))
        log.addHandler(handler)
        try:
            yield epochs, said
        finally:
            log.removeHandler(handler)


@cache
def _config() -> Config:
    conf_folder.register_resolvers()
    options = [option for option in TINY if not option.startswith(("dataset", "limit", "base"))]
    with composing(conf_folder.CONF):
        return parse(
            hydra.compose(
                "train",
                [
                    *options, "model=minilm", "dataset=text_files", "dataset.loader.path=texts",
                    "dataset.max_length=16", "batch_size=16", "resume=true", "tracking=none",
                    f"epochs={EPOCHS}",
                ],
            )
        )  # fmt: skip


def _dataset(root: Path) -> Any:
    dataset = _config().dataset
    return replace(dataset, loader={**dataset.loader, "path": str(root / "texts")})


def _write(root: Path) -> None:
    """Write texts, a small model with random weights, and its tokenizer."""
    (root / "texts").mkdir()
    for split, size in (("train", 48), ("test", 24)):
        rows = [
            (f"a {WORDS[n % 6]} film no {n}", "good" if n % 6 < 3 else "bad") for n in range(size)
        ]
        _write_rows(root / "texts" / f"{split}.csv", [("text", "label"), *rows])
    tokenizer = train_wordpiece([f"a {word} film no 1234567890" for word in WORDS], 96)
    tokenizer.save_pretrained(root / "package")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(root / "package")


def _rows(path: Path) -> list[tuple[str, ...]]:
    with path.open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)]


def _write_rows(path: Path, rows: Sequence[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _of_rows(change: Callable[[list[tuple[str, ...]], int], None]) -> Change:
    """Return the change of a row, drawn at random, of one of the files of texts."""

    def changed(root: Path, rng: random.Random) -> None:
        path = root / "texts" / f"{rng.choice(('train', 'test'))}.csv"
        rows = _rows(path)
        change(rows, rng.randrange(1, len(rows) - 1))
        _write_rows(path, rows)

    return changed


def _other_label(rows: list[tuple[str, ...]], row: int) -> None:
    rows[row] = (rows[row][0], "bad" if rows[row][1] == "good" else "good")


def _other_letter(rows: list[tuple[str, ...]], row: int) -> None:
    rows[row] = (f"{rows[row][0]}s", rows[row][1])


def _swapped(rows: list[tuple[str, ...]], row: int) -> None:
    rows[row], rows[row + 1] = rows[row + 1], rows[row]


def _renamed(root: Path, rng: random.Random) -> None:
    for path in (root / "texts").iterdir():
        rows = [(text, "awful" if label == "bad" else label) for text, label in _rows(path)]
        _write_rows(path, rows)


def _other_number(root: Path, rng: random.Random) -> None:
    """Change one weight by the least that there is."""
    path = root / "package" / "model.safetensors"
    tensors = load_file(path)
    name = rng.choice(sorted(name for name in tensors if name.startswith("bert.encoder")))
    numbers = tensors[name].view(-1)
    place = rng.randrange(len(numbers))
    numbers[place] = torch.nextafter(numbers[place], torch.tensor(2.0))
    save_file(tensors, path, {"format": "pt"})


def _other_activation(root: Path, rng: random.Random) -> None:
    path = root / "package" / "config.json"
    values = json.loads(path.read_text()) | {"hidden_act": rng.choice(("relu", "silu"))}
    path.write_text(json.dumps(values))


def _other_vocabulary(root: Path, rng: random.Random) -> None:
    path = root / "package" / "tokenizer.json"
    values = json.loads(path.read_text())
    vocabulary = values["model"]["vocab"]
    one, other = rng.sample([word for word in WORDS if word in vocabulary], 2)
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    path.write_text(json.dumps(values))


def _with_capitals(root: Path, rng: random.Random) -> None:
    path = root / "package" / "tokenizer.json"
    values = json.loads(path.read_text())
    values["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(values))


def _touched(root: Path, rng: random.Random) -> None:
    for path in [*(root / "texts").iterdir(), *(root / "package").iterdir()]:
        path.write_bytes(path.read_bytes())


def _of_another_version(root: Path, rng: random.Random) -> None:
    path = root / "package" / "config.json"
    values = json.loads(path.read_text()) | {"transformers_version": "4.40.0"}
    path.write_text(json.dumps(dict(reversed(values.items()))))


SAME: dict[str, Change] = {
    "files written anew": _touched,
    "a config.json of another version": _of_another_version,
}

CHANGES: dict[str, Change] = {
    "another label": _of_rows(_other_label),
    "another letter": _of_rows(_other_letter),
    "a row less": _of_rows(lambda rows, row: rows.__delitem__(row)),
    "a row twice": _of_rows(lambda rows, row: rows.insert(row, rows[row])),
    "two rows in another order": _of_rows(_swapped),
    "another name of a class": _renamed,
    "a weight, in its last bit": _other_number,
    "another activation": _other_activation,
    "two words of the vocabulary": _other_vocabulary,
    "capitals are kept": _with_capitals,
    **SAME,
}
