"""What labels must be for a training to mean anything; else an error that names file and row."""

import math
from typing import Any

import torch
from torch import Tensor

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import (
    complaint,
    difference,
    of_two_lines,
    quoted,
    same_to_a_reader,
)
from adapterlab.data.grouping import require_groups
from adapterlab.data.splits import Splits


def require_learnable(splits: Splits[Any], validation: float) -> None:
    """Refuse labels from which nothing can be learnt, or of which no validation can be cut.

    Args:
        splits: a data set, with the names that its classes are called by.
        validation: the share of the training rows that is cut off where there is no such split.

    Raises:
        DataError: names that cannot be told apart, training rows of one class only, or a class
            or a split too small to be cut in two.
    """
    if splits.task != "single_label":
        _require_varied(splits)
        if splits.validation is None and splits.groups is not None:
            require_groups(splits.groups, validation, "dataset.validation")
        return
    counts = torch.bincount(splits.train.labels, minlength=len(splits.classes))
    _require_names(splits, counts)
    present = counts.nonzero().flatten()
    if len(present) == 1:
        raise DataError(
            f"{_home(splits)} has the label {quoted(splits.classes[int(present)])} in all of its "
            f"{len(splits.train):,} rows: nothing can be learnt; allowed: two labels or more"
        )
    if splits.validation is None and splits.groups is not None:
        require_groups(splits.groups, validation, "dataset.validation")
    elif splits.validation is None:
        _require_cuttable(splits, counts[present], present, validation)


def _require_varied(splits: Splits[Any]) -> None:
    """Refuse labels of several or numbers from which nothing can be learnt."""
    labels = splits.train.labels
    if splits.task == "regression":
        if bool((labels == labels[0]).all()):
            raise DataError(
                f"{_home(splits)} has {float(labels[0]):g} as {splits.classes[0]} in all of its "
                f"{len(labels):,} rows: nothing can be learnt; allowed: two numbers or more"
            )
        return
    _require_names(splits, labels.sum(0))
    if bool((labels == labels[0]).all()):
        raise DataError(
            f"{_home(splits)} has the same labels in all of its {len(labels):,} rows: nothing can "
            "be learnt"
        )


def _require_names(splits: Splits[Any], counts: Tensor) -> None:
    names = splits.classes
    if (name := of_two_lines(names)) is not None:
        raise DataError(
            f"{_home(splits)}: the label {quoted(name)} has a line break; write it in one line"
        )
    if (pair := same_to_a_reader(names)) and pair[0] != pair[1]:
        numbers = [names.index(name) for name in pair]
        first, second = (
            f"{quoted(names[number])} ({_rows(int(counts[number]))})" for number in numbers
        )
        rare = min(numbers, key=lambda number: int(counts[number]))
        seen = counts[rare] and splits.task == "single_label"
        where = f"; see {_first(splits, rare)}" if seen else ""
        raise DataError(
            f"{_home(splits)}: the labels {first} and {second} differ by {difference(*pair)} "
            f"only{where}; write them alike"
        )
    if why := complaint(names):
        raise DataError(f"{_home(splits)} has class names that cannot be told apart: {why}")


def _require_cuttable(
    splits: Splits[Any], counts: Tensor, present: Tensor, validation: float
) -> None:
    lonely = present[counts < 2].tolist()
    if lonely:
        more = f", as have {len(lonely) - 1:,} more of {len(present):,} labels" * (len(lonely) > 1)
        raise DataError(
            f"{_first(splits, lonely[0])} is the only training row with the label "
            f"{quoted(splits.classes[lonely[0]])}{more}; a class that is cut into training and "
            "validation needs two rows: add some, mend the label, or give a validation split"
        )
    rows, classes = int(counts.sum()), len(present)
    held = math.ceil(validation * rows)
    if min(held, rows - held) < classes:
        way = f"set dataset.validation={math.ceil(100 * classes / rows) / 100:g}"
        raise DataError(
            f"{_home(splits)} has {rows:,} rows of {classes:,} classes, of which "
            f"dataset.validation={validation:g} puts {held:,} into validation; each class needs "
            f"one in either part: {'add rows' if rows < 2 * classes else way}"
        )


def _first(splits: Splits[Any], label: int) -> str:
    return splits.place("train", int((splits.train.labels == label).nonzero()[0]))


def _home(splits: Splits[Any]) -> str:
    origin = splits.origins.get("train")
    return "train" if origin is None else str(origin.home)


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"
