"""A saved run as what answers: from texts or images to probabilities, or to a number."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, softmax

from adapterlab.adapters import AdaptedModel
from adapterlab.base.errors import AdapterLabError, DataError
from adapterlab.config.schema import TextDataset
from adapterlab.config.tasks import Task
from adapterlab.data.batches import AnyBatches
from adapterlab.data.sources.decode import Encoded, Lost, background_of, decode
from adapterlab.data.sources.streamed import Chunk, Table
from adapterlab.data.splits import ImageSplit, TextSplit
from adapterlab.data.tokens import tokenize
from adapterlab.data.transforms import to_shape
from adapterlab.runs.data import Shape
from adapterlab.runs.preprocessing import TextInputs
from adapterlab.runs.saved import Rebuilt, SavedRun, rebuild
from adapterlab.training.hardware import choose_device
from adapterlab.training.predicting import predict
from adapterlab.training.task_predictions import logged_limits

Outputs = npt.NDArray[np.float64]
"""``[N, C]``: probabilities, or one number in the unit of the data set."""

Examples = Sequence[str] | Sequence[tuple[str, str]] | Encoded
"""Texts, pairs of texts, or encoded images."""


@dataclass
class Member:
    """A rebuilt run, of which the data that it was trained on are let go.

    Attributes:
        name: of the run.
        task: what it has learnt.
        classes: in label order; of numbers, what they are called.
        limits: probabilities above which labels are answered, of several labels.
        column: of the texts or images, where the run's data set names it; two of pairs.
        trained_on: the columns that the run's own files have them in, named or found; none where
            they are in no table.
        truncated: texts so far of which the end was cut off.
        max_length: tokens that a text may have; None for images.
        of_pairs: whether it takes pairs of texts.
        halves: whether one text of a pair may be empty, as in the training.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    limits: tuple[float, ...]
    column: str | Sequence[str] | None
    trained_on: tuple[str, ...]
    max_length: int | None
    of_pairs: bool
    halves: bool
    notes: tuple[str, ...]
    _model: AdaptedModel
    _like: AnyBatches
    _inputs: Any
    _read: Shape | None
    _taken: Shape | None
    _device: torch.device
    _background: tuple[int, int, int] | None
    truncated: int = 0

    @property
    def of_texts(self) -> bool:
        """Whether it takes texts, rather than images."""
        return self.max_length is not None

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        return "pairs of texts" if self.of_pairs else "texts" if self.of_texts else "images"

    def outputs(self, examples: Examples) -> Outputs:
        """Return what the run says of examples, in their order.

        They go the way of the run's own test split: the same shape or tokens, the same batches.

        Raises:
            DataError: an image that cannot be decoded, or a text without a token.
            AdapterLabError: an output of the model is no number.
        """
        batches = copy.copy(self._like)
        batches.splits = {"test": self._split(examples)}
        logits = predict(self._model, batches, "test", self._device).logits.astype(np.float64)
        if not np.isfinite(logits).all():
            raise AdapterLabError(f"{self.name} gives logits that are not finite")
        if self.task == "regression":
            return np.asarray(logits)
        return np.asarray(expit(logits) if self.task == "multi_label" else softmax(logits, axis=1))

    def _split(self, examples: Examples) -> Any:
        if isinstance(examples, Encoded):
            assert self._taken is not None
            (images,) = decode([examples], self._read, title="", lost=Lost(self._background))
            labels = torch.zeros(len(images), dtype=torch.int64)
            return ImageSplit(to_shape(images, self._taken), labels)
        assert self.max_length is not None
        labels = torch.zeros(len(examples), dtype=torch.int64)
        split = tokenize(
            TextSplit.of_pairs(cast(Sequence[tuple[str, str]], examples), labels)
            if self.of_pairs
            else TextSplit(tuple(cast(Sequence[str], examples)), labels),
            self._inputs.tokenizer,
            self.max_length,
            cache=None,
            name="",
            types=self._inputs.token_types,
        )
        self.truncated += split.truncated_texts
        return split


def member(saved: SavedRun) -> Member:
    """Rebuild a saved run to ask it about new examples.

    Raises:
        AdapterLabError: there is no such finished run, or its data or weights are missing.
    """
    return _member(rebuild(saved))


def _member(rebuilt: Rebuilt) -> Member:
    config, assembly = rebuilt.config, rebuilt.assembly
    device = choose_device(config.hardware).torch
    like = copy.copy(assembly.data)
    taken = None
    target = assembly.read.target
    test, origin = target.test, target.origins.get("test")
    if not isinstance(assembly.inputs, TextInputs):
        taken = like.splits["test"].shape
    like.splits = {}
    text = config.dataset if isinstance(config.dataset, TextDataset) else None
    loader = config.dataset.loader
    limits = logged_limits(rebuilt.result.metrics, like.classes)
    if config.task == "multi_label" and limits is None:
        raise AdapterLabError(
            f"{rebuilt.result.name} has logged no thresholds, above which labels are answered"
        )
    changed = [note for note in assembly.notes if note.startswith("the data have changed")]
    return Member(
        name=rebuilt.result.name,
        task=config.task,
        classes=tuple(like.classes),
        limits=limits or (),
        column=loader.get("text_column" if text else "image_column"),
        trained_on=() if origin is None else origin.columns,
        max_length=None if text is None else text.max_length,
        of_pairs=isinstance(test, TextSplit) and bool(test.pairs),
        halves=bool(loader.get("empty_texts")),
        notes=tuple(changed),
        _model=assembly.adapted,
        _like=like,
        _inputs=assembly.inputs,
        _read=assembly.read.shape,
        _taken=taken,
        _device=device,
        _background=background_of(loader.get("background")),
    )


def texts_in(table: Table, chunk: Chunk, column: str, *, empty: bool = False) -> list[str]:
    """Return the texts of some rows, none of which is empty unless they may be.

    Raises:
        DataError: one is missing, empty, or no text.
    """
    texts: list[str] = []
    for record, place in zip(chunk.records, chunk.places, strict=True):
        text = record.get(column)
        if not isinstance(text, str):
            what = "no" if text is None else f"{str(text)[:40]!r}, which is no text, as"
            raise DataError(f"{table.path} has {what} {column} in {place}")
        if not (empty or text.strip()):
            raise DataError(f"{table.path} has an empty {column} in {place}; fill or remove it")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{table.path} has half a surrogate pair as {column} in {place}; mend it"
            ) from None
        texts.append(text)
    return texts


def pairs_in(
    table: Table, chunk: Chunk, columns: tuple[str, str], *, halves: bool = False
) -> list[tuple[str, str]]:
    """Return the pairs of texts of some rows; of each one may be empty if `halves` are allowed.

    Raises:
        DataError: a text is missing, empty, or no text.
    """
    first, second = (texts_in(table, chunk, column, empty=halves) for column in columns)
    pairs = list(zip(first, second, strict=True))
    for pair, place in zip(pairs, chunk.places, strict=True):
        if not "".join(pair).strip():
            raise DataError(
                f"{table.path} has an empty {' and '.join(columns)} in {place}; fill or remove it"
            )
    return pairs


def images_in(table: Table, chunk: Chunk, column: str) -> Encoded:
    """Return the images of some rows: bytes, a struct with bytes, or names of files.

    Raises:
        DataError: one is missing, is none of these, or its file is not there.
    """
    found: list[bytes | Path] = []
    names: list[str] = []
    for record, place in zip(chunk.records, chunk.places, strict=True):
        value = record.get(column)
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str):
            value = table.home / value
            if not value.is_file():
                raise DataError(f"{value} is missing; {table.path} names it in {place}")
        if not isinstance(value, bytes | Path):
            raise DataError(f"{table.path} has no image as {column} in {place}")
        found.append(value)
        names.append(str(value) if isinstance(value, Path) else f"{table.path} {place}")
    return Encoded(len(found), read=found.__getitem__, name=names.__getitem__)
