"""What about a data set makes figures on it worth less: figures for a run's log, and sentences."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import easily_confused, listed, quoted, stands_for_no_label
from adapterlab.data.splits import ImageSplits, Splits
from adapterlab.data.targets import as_classes, called, counts_of

_UNEVEN = 10
"""Rows of the most frequent class to one of the rarest from which on it is said."""

_MANY = 20
"""Classes that are whole numbers from which on they may be measurements."""


@dataclass(frozen=True)
class Scrutiny:
    """What was found.

    Attributes:
        facts: figures by name, of the data set as a whole.
        notes: what a reader must know, a sentence each.
    """

    facts: dict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """Rows of the training split: those left to train on, and those cut off for validation."""

    train: Tensor
    validation: Tensor


def scrutinise(
    splits: Splits[Any],
    numbers: Mapping[str, Tensor],
    used: Mapping[str, Tensor],
    cut: Cut | None = None,
) -> Scrutiny:
    """Look for what makes figures on a data set worth less.

    Args:
        splits: the data set, whole.
        numbers: of its splits' examples, equal ones having one number (see
            :func:`~adapterlab.data.duplicates.alike`), and of the ``source`` task's training
            examples where they are of the same kind.
        used: the labels that a run trains, selects and tests on, which may be fewer.
        cut: where validation is cut from the training rows.
    """
    found = _Found(splits, numbers)
    facts: dict[str, float] = {}
    notes = []
    for name, in_train, count, sentence in found.overlaps(cut):
        facts[f"{name}_in_{in_train}"] = float(count)
        notes += [sentence] if count else []
    train = numbers["train"]
    facts["duplicates"] = float(repeated(train))
    several = found.of_several_labels()
    facts["conflicting"] = float(len(several))
    if facts["duplicates"]:
        notes.append(found.duplicates(int(facts["duplicates"]), several))
    notes += found.nearly_empty()
    if splits.task != "regression":
        notes += _classes(splits, used)
    if splits.task != "single_label":
        return Scrutiny(facts, tuple(notes))
    facts["majority_accuracy"], uneven = _balance(splits, used)
    return Scrutiny(facts, (*notes, *uneven))


def require_different(splits: Splits[Any], numbers: Mapping[str, Tensor]) -> None:
    """Refuse training examples that are all the same.

    Raises:
        DataError: they are; names the first.
    """
    train = numbers["train"]
    if len(train) > 1 and bool((train == train[0]).all()):
        lost = next((f" ({note})" for note in splits.notes if "transparent" in note), "")
        raise DataError(
            f"all {len(train):,} training {_noun(splits)} are the same as "
            f"{splits.place('train', 0)}: nothing can be learnt{lost}"
        )


def repeated(numbers: Tensor) -> int:
    """How many of some numbers are there before."""
    return len(numbers) - len(set(numbers.tolist()))


@dataclass(frozen=True)
class _Found:
    """A data set, and the numbers of its examples."""

    splits: Splits[Any]
    numbers: Mapping[str, Tensor]

    @property
    def noun(self) -> str:
        return _noun(self.splits)

    def overlaps(self, cut: Cut | None) -> Iterator[tuple[str, str, int, str]]:
        """Yield which split has examples of which other, how many, and the sentence about it."""
        train = self.numbers["train"]
        yield "test", "train", *self._overlap("test", "train")
        if self.splits.validation is not None:
            yield "validation", "train", *self._overlap("validation", "train")
            yield "test", "validation", *self._overlap("test", "validation")
        elif cut is not None:
            held, left = train[cut.validation], train[cut.train]
            count = int(torch.isin(held, left).sum())
            yield (
                "validation", "train", count,
                f"the validation split is cut from train, where some {self.noun} stand more than "
                f"once: {_share(count, len(held))} of its {self.noun} are in what is left to train "
                "on too",
            )  # fmt: skip
        source = self.numbers.get("source")
        if source is not None and not torch.equal(source, train):
            count = int(torch.isin(self.numbers["test"], source).sum())
            yield (
                "test", "source", count,
                f"{_share(count, len(self.splits.test))} test {self.noun} are among those that "
                "the base was trained on",
            )  # fmt: skip

    def _overlap(self, name: str, other: str) -> tuple[int, str]:
        inside = torch.isin(self.numbers[name], self.numbers[other])
        rows = inside.nonzero().flatten()
        if not len(rows):
            return 0, ""
        same = {*zip(*self._with_labels(other), strict=True)}
        labels = self._kinds[name][rows]
        ours = zip(self.numbers[name][rows].tolist(), labels.tolist(), strict=True)
        otherwise = sum(pair not in same for pair in ours)
        first = int(rows[0])
        twin = int((self.numbers[other] == self.numbers[name][first]).nonzero()[0])
        return len(rows), (
            f"{_share(len(rows), len(inside))} {name} {self.noun} are in {other} too"
            + (f", {otherwise:,} of them with another label" if otherwise else "")
            + f" (the first: {self.splits.place(name, first, brief=True)} is "
            f"{self.splits.place(other, twin, brief=True)})"
        )

    def _with_labels(self, name: str) -> tuple[list[int], list[int]]:
        return self.numbers[name].tolist(), self._kinds[name].tolist()

    @cached_property
    def _kinds(self) -> dict[str, Tensor]:
        """The labels of each split as numbers, equal ones having one number."""
        named = self.splits.named()
        numbers = as_classes(torch.cat([split.labels for split in named.values()]))
        ends = np.cumsum([0, *(len(split) for split in named.values())])
        return {name: numbers[ends[i] : ends[i + 1]] for i, name in enumerate(named)}

    def of_several_labels(self) -> Tensor:
        """The training rows whose example stands there with another label too."""
        train, labels = self.numbers["train"], self._kinds["train"]
        pairs = {*zip(train.tolist(), labels.tolist(), strict=True)}
        labelled = Counter(number for number, _ in pairs)
        several = torch.tensor([n for n, count in labelled.items() if count > 1], dtype=train.dtype)
        return torch.isin(train, several).nonzero().flatten()

    def duplicates(self, count: int, several: Tensor) -> str:
        """Say how many training examples repeat another, and with which labels."""
        train = self.numbers["train"]
        said = f"{_share(count, len(train))} training {self.noun} repeat another one"
        if not len(several):
            return said
        first = int(several[0])
        labels = self._kinds["train"]
        twins = ((train == train[first]) & (labels != labels[first])).nonzero().flatten()
        other = int(twins[0])
        (a, b), (here, there) = (
            [called(self.splits.train.labels[row], self.splits.classes) for row in (first, other)],
            [self.splits.place("train", row, brief=True) for row in (first, other)],
        )
        return (
            f"{said}; {len(several):,} stand there with more than one label "
            f"({here} as {quoted(a)}, {there} as {quoted(b)})"
        )

    def nearly_empty(self) -> list[str]:
        """Say where examples have next to nothing in them."""
        what = "of one colour" if self.noun == "images" else "without two letters"
        said = []
        for name, split in self.splits.named().items():
            rows = (self.numbers[name] < 0).nonzero().flatten()
            if len(rows):
                first = self.splits.place(name, int(rows[0]), brief=True)
                share = _share(len(rows), len(split))
                said.append(f"{share} {name} {self.noun} are {what} (the first: {first})")
        return said


def _noun(splits: Splits[Any]) -> str:
    return "images" if isinstance(splits, ImageSplits) else "texts"


def _classes(splits: Splits[Any], used: Mapping[str, Tensor]) -> list[str]:
    """Say which classes have no example, and which have names that are easily confused."""
    names = splits.classes
    absent = {
        split: (counts_of(labels, len(names)) == 0).nonzero().flatten().tolist()
        for split, labels in used.items()
    }
    everywhere = set.intersection(*map(set, absent.values()))
    said = []
    if everywhere and (sentence := without_example(len(everywhere), len(names))) not in (
        splits.notes
    ):
        said.append(f"{sentence}: {listed([names[i] for i in sorted(everywhere)])}")
    for split, missing in absent.items():
        if some := [names[label] for label in missing if label not in everywhere]:
            zero = "" if split == "train" else ", each counting as 0 in its macro_f1"
            said.append(f"{split} has no example of {listed(some)}{zero}")
    for first, second in easily_confused(names)[:3]:
        said.append(
            f"{quoted(first)} and {quoted(second)} are two classes, though they are easily confused"
        )
    for name in filter(stands_for_no_label, names):
        said.append(
            f"{quoted(name)} is a class like any other; remove its rows if it means: no label"
        )
    if _measure(names):
        said.append(
            f"the {len(names):,} classes are whole numbers, {quoted(names[0])} to "
            f"{quoted(names[-1])}: where they measure something, task=regression learns them"
        )
    return said


def _measure(names: Sequence[str]) -> bool:
    """Say whether classes may be measurements, as ages are: many, and not counted from 0 or 1."""
    if len(names) < _MANY or not all(name.lstrip("-").isdecimal() for name in names):
        return False
    numbers = sorted(map(int, names))
    return numbers[0] not in (0, 1) or numbers[-1] - numbers[0] >= len(numbers)


def without_example(count: int, classes: int) -> str:
    """The sentence about classes that have no example in any split."""
    return f"{count} of the {classes} classes have no example; each counts as 0 in macro_f1"


def _balance(splits: Splits[Any], used: Mapping[str, Tensor]) -> tuple[float, list[str]]:
    """What always answering the most frequent class would reach, and what to say of it."""
    counts = torch.bincount(used["train"], minlength=len(splits.classes))
    most = int(counts.argmax())
    share = float((used["test"] == most).double().mean())
    present = counts[counts > 0]
    if int(present.max()) < _UNEVEN * int(present.min()):
        return share, []
    least = int(counts.where(counts > 0, counts.max() + 1).argmin())
    frequent, rare = (quoted(splits.classes[label]) for label in (most, least))
    return share, [
        f"train has {int(counts[most]):,} examples of {frequent} and {int(counts[least]):,} of "
        f"{rare}: always answering {frequent} would be right in {share:.2%} of the test; macro_f1 "
        "weighs all classes alike"
    ]


def _share(count: int, of: int) -> str:
    return f"{count:,} of {of:,} ({count / of:.2%})"
