"""What a data set is: its official splits, whole, in memory."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from adapterlab.base.cache import Entry, stored
from adapterlab.base.errors import ConfigError, DataError
from adapterlab.base.revision import version_of
from adapterlab.config.tasks import Task
from adapterlab.data.grouping import grouped_cut, random_cut
from adapterlab.data.origin import Origin, RowNames
from adapterlab.data.targets import as_parts, require_labels, require_named, task_of


class Digest(Protocol):
    """A hash of :mod:`hashlib`."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in more bytes."""


class Split(Protocol):
    """Labelled examples: what cutting and sampling need to know of a split."""

    @property
    def labels(self) -> Tensor:
        """What the examples are labelled with, of one of the forms of `targets.task_of`."""

    def __len__(self) -> int: ...

    def select(self, indices: Tensor) -> Self:
        """The rows ``indices`` (int64 ``[M]``), in that order."""

    def update(self, digest: "Digest") -> None:
        """Feed the examples and their labels to a hash."""


S = TypeVar("S", bound=Split)


@dataclass(frozen=True)
class ImageSplit:
    """Images and labels of one split.

    Args:
        images: uint8 ``[N, C, H, W]``.
        labels: ``[N]`` or ``[N, C]``, see `targets.task_of`; class indices count from 0.

    Raises:
        DataError: empty, of another type or shape, a negative label, or counts that differ.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                f"images are {self.images.dtype} {tuple(self.images.shape)}; "
                "allowed: uint8 [N,C,H,W]"
            )
        require_labels(self.labels, self.images, "images")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def select(self, indices: Tensor) -> "ImageSplit":
        """The rows ``indices`` (int64 ``[M]``), in that order, copied."""
        return ImageSplit(self.images[indices], self.labels[indices])

    def update(self, digest: Digest) -> None:
        """Feed the images and their labels to a hash."""
        digest.update(f"{tuple(self.images.shape)}".encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)


@dataclass(frozen=True)
class TextSplit:
    """Texts and labels of one split.

    Args:
        texts: N texts; of pairs both parts, a line each.
        labels: ``[N]`` or ``[N, C]``, see `targets.task_of`; class indices count from 0.
        pairs: the parts of N pairs, such as a premise and a hypothesis; empty for single texts.

    Raises:
        DataError: empty, labels of another type or shape, a negative one, or counts that differ.
    """

    texts: tuple[str, ...]
    labels: Tensor
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        require_labels(self.labels, self.texts, "texts")
        if self.pairs and len(self.pairs) != len(self.texts):
            raise DataError(f"{len(self.pairs)} pairs for {len(self.texts)} texts")

    @classmethod
    def of_pairs(cls, pairs: Sequence[tuple[str, str]], labels: Tensor) -> "TextSplit":
        """Make a split of pairs of texts."""
        return cls(tuple("\n".join(pair) for pair in pairs), labels, tuple(pairs))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def parts(self) -> Sequence[str]:
        """The texts as they are tokenised: of pairs one part after the other."""
        return tuple(chain.from_iterable(self.pairs)) if self.pairs else self.texts

    def select(self, indices: Tensor) -> "TextSplit":
        """The rows ``indices`` (int64 ``[M]``), in that order."""
        rows = indices.tolist()
        texts = tuple(self.texts[row] for row in rows)
        pairs = tuple(self.pairs[row] for row in rows) if self.pairs else ()
        return TextSplit(texts, self.labels[indices], pairs)

    def update(self, digest: Digest) -> None:
        """Feed the texts and their labels to a hash."""
        update_with_texts(digest, self.parts)
        digest.update(self.labels.contiguous().numpy().data)


@dataclass(frozen=True)
class Splits(Generic[S]):
    """A data set as published: the official splits, untouched.

    Args:
        train: the training split, from which a validation split may be cut.
        test: the official test split.
        classes: the name of each class index, or label; of numbers, what they are called.
        validation: the official validation split, where the data set has one.
        notes: what a reader of a figure on this data must know, a sentence each.
        origins: the files that the splits' rows are from; no part of the data's hash.
        groups: of the training rows, int64 ``[N]``: rows of one group are never parted by a cut.

    Raises:
        DataError: a label that names no class.
    """

    train: S
    test: S
    classes: tuple[str, ...]
    validation: S | None = None
    notes: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False, compare=False)
    groups: Tensor | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, split in self.named().items():
            require_named(name, split.labels, self.classes)
            if task_of(split.labels) != self.task:
                raise DataError(f"{name} is labelled for {task_of(split.labels)}, not {self.task}")

    @property
    def task(self) -> Task:
        """What the examples are labelled for."""
        return task_of(self.train.labels)

    def named(self) -> dict[str, S]:
        """The splits that exist, by name: train, test and perhaps validation."""
        splits = {"train": self.train, "test": self.test}
        return splits if self.validation is None else {**splits, "validation": self.validation}

    def place(self, split: str, row: int, *, brief: bool = False) -> str:
        """What to call a row of a split to a reader: file and row, where that is known."""
        if (origin := self.origins.get(split)) is None:
            return f"{split} row {row} (counted from 0)"
        return origin.brief(row) if brief else origin.of(row)

    def called(self, split: str, rows: Sequence[int]) -> "RowNames":
        """What the files themselves call some rows of a split."""
        origin = self.origins.get(split)
        return RowNames(tuple(rows)) if origin is None else origin.called(rows)

    def update(self, digest: Digest) -> None:
        """Feed the class names and all splits to a hash."""
        digest.update("\n".join(self.classes).encode())
        for name, split in self.named().items():
            digest.update(name.encode())
            split.update(digest)
        if self.groups is not None:  # they decide which rows validation gets
            digest.update(self.groups.contiguous().numpy().data)

    def with_notes(self, *notes: str) -> Self:
        """The same data with ``notes`` added."""
        return replace(self, notes=(*self.notes, *notes))


@dataclass(frozen=True)
class ImageSplits(Splits[ImageSplit]):
    """A data set of images as published; see :class:`Splits`.

    Raises:
        DataError: splits whose image shapes differ, or a label that names no class.
    """

    def __post_init__(self) -> None:
        for name, split in self.named().items():
            if split.shape != self.train.shape:
                raise DataError(
                    f"{name} images are {split.shape} but train images are {self.train.shape}; "
                    "set dataset.shape=[C,H,W] to bring them to one shape"
                )
        super().__post_init__()


@dataclass(frozen=True)
class TextSplits(Splits[TextSplit]):
    """A data set of texts as published; see :class:`Splits`."""


Cut = Callable[[Tensor, float, int], tuple[Tensor, Tensor]]
"""Cuts rows in two by their labels; see :func:`stratified_cut`."""


def stratified_cut(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Cut rows in two so that each class keeps its share; both parts in the original order.

    Where there are no classes, rows are cut at random.

    Args:
        labels: of one of the forms of `targets.task_of`.
        fraction: the share of rows that the second part gets, between 0 and 1.
        seed: fixes the cut; equal labels and seed give equal rows.

    Returns:
        Row indices of the larger first part and of the second one, int64, ascending.

    Raises:
        ConfigError: a fraction outside of (0, 1).
        DataError: too few rows for each class to be in both parts.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"the share to cut off is {fraction}; allowed: above 0, below 1")
    if task_of(labels) != "single_label":
        return random_cut(len(labels), fraction, seed)
    counts = torch.bincount(labels)
    present = counts > 0
    if (rarest := int(counts[present].min())) < 2:
        label = int((counts == rarest).nonzero()[0])
        raise DataError(
            f"class {label} has only 1 example, which cannot be in two splits; "
            "allowed: at least 2 of each class"
        )
    from sklearn.model_selection import train_test_split  # which takes a second, see `kept_cut`

    try:
        first, second = train_test_split(
            np.arange(len(labels)), test_size=fraction, random_state=seed, stratify=labels.numpy()
        )
    except ValueError as error:
        raise DataError(
            f"{len(labels)} rows of {int(present.sum())} classes cannot be cut at {fraction}: "
            "one part would be smaller than the number of classes; use more rows or another share"
        ) from error
    return torch.from_numpy(np.sort(first)), torch.from_numpy(np.sort(second))


def kept_cut(cache: Path, labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Cut rows as :func:`stratified_cut` does, once; the cut is kept in a cache folder."""
    digest = hashlib.sha256(labels.contiguous().numpy().data).hexdigest()
    key = [digest, fraction, seed, version_of("scikit-learn")]

    def build() -> Entry:
        first, second = stratified_cut(labels, fraction, seed)
        return Entry({"first": first, "second": second}, {})

    rows = stored(cache, "cut", key, build).tensors
    return rows["first"], rows["second"]


def hold_out(
    splits: Splits[S], fraction: float, seed: int, cut: Cut = stratified_cut
) -> tuple[S, S]:
    """Training and validation split; the official test split takes no part.

    An official validation split is used as it is; otherwise ``fraction`` of the training rows is
    cut off, stratified by class where there are classes.

    Args:
        splits: the data set.
        fraction: share of the training rows that go to validation, between 0 and 1.
        seed: the cut's own seed, which stays fixed while the runs' seeds vary.
        cut: makes the cut.

    Raises:
        ConfigError: a fraction outside of (0, 1).
        DataError: too few rows for each class to be in both parts.
    """
    if splits.validation is not None:
        return splits.train, splits.validation
    train, validation = validation_cut(splits, fraction, seed, cut)
    return splits.train.select(train), splits.train.select(validation)


def validation_cut(
    splits: Splits[Any], fraction: float, seed: int, cut: Cut = stratified_cut
) -> tuple[Tensor, Tensor]:
    """The training rows that stay and those that go to validation, see :func:`hold_out`."""
    if splits.groups is not None:
        return grouped_cut(as_parts(splits.train.labels), splits.groups, fraction, seed)
    return cut(splits.train.labels, fraction, seed)


def limited(split: S, n: int, seed: int) -> S:
    """The first ``n`` rows of a permutation fixed by ``seed``: a small sample for smoke runs.

    A larger ``n`` extends a smaller one's sample. A split of ``n`` rows or fewer is returned as it
    is. The sample is not stratified.

    Raises:
        ConfigError: ``n`` below 1.
    """
    return split if 1 <= len(split) <= n else split.select(sampled(len(split), n, seed))


def sampled(size: int, n: int, seed: int) -> Tensor:
    """The rows, of so many, that :func:`limited` takes, in its order; int64."""
    if n < 1:
        raise ConfigError(f"limit is {n}; allowed: at least 1")
    if n >= size:
        return torch.arange(size)
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:n]


def update_with_texts(digest: Digest, texts: Iterable[str]) -> None:
    """Feed texts to a hash, so that it tells them and their borders."""
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8, "big"))  # else ["ab", "c"] would equal ["a", "bc"]
        digest.update(content)
