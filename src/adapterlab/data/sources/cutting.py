"""Cuts the rows of one file into the splits that it does not have itself."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.config.class_names import listed, quoted
from adapterlab.data.grouping import grouped_cut
from adapterlab.data.sources.unread_files import ROLES
from adapterlab.data.sources.written_labels import says_task
from adapterlab.data.splits import stratified_cut
from adapterlab.data.targets import as_parts, task_of


@dataclass(frozen=True)
class Cutting:
    """How a test split is cut.

    Attributes:
        test: its share of the rows, between 0 and 1.
        seed: of the cut; part of what the data set is.
        folds: cut the rows into so many parts instead, of which one is the test split.
        fold: which of them, from 0.
        trained: a run with these options has been trained: one without effect is past refusing.
    """

    test: float = 0.2
    seed: int = 0
    folds: int | None = None
    fold: int = 0
    trained: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.test < 1:
            raise ConfigError(
                f"dataset.loader.test={self.test:g} should be a share: above 0, below 1"
            )
        if self.folds is not None and self.folds < 2:
            raise ConfigError(f"dataset.loader.folds={self.folds} should be 2 or more, or null")
        if not 0 <= self.fold < (self.folds or 1):
            most = f"0 to {self.folds - 1}" if self.folds else "0: dataset.loader.folds is null"
            raise ConfigError(f"dataset.loader.fold={self.fold}; allowed: {most}")

    def require_unasked(self, why: str) -> None:
        """Refuse options of a cut that nothing is cut by: such runs would be the same again.

        Args:
            why: nothing is cut, in a clause.

        Raises:
            ConfigError: one is set, and the run is still to be trained.
        """
        if self.trained:
            return
        for name, value in (("folds", self.folds), ("test", self.test), ("test_seed", self.seed)):
            if value != _USUAL[name]:
                raise ConfigError(
                    f"dataset.loader.{name}={value:g} is of a test split that is cut here, but "
                    f"{why}; leave it out"
                )


_USUAL = {"folds": Cutting.folds, "test": Cutting.test, "test_seed": Cutting.seed}


def takes_column(split_column: str | None, how: Cutting, what: str) -> bool:
    """Say whether a column of splits that a file has is to be read: folds pass over one.

    Args:
        split_column: the one that the user names; None for one that was found.
        how: a cut is asked for, if it is.
        what: has the column: the name of the file.

    Raises:
        ConfigError: both are asked for.
    """
    if split_column is None and how.folds is not None:
        return False
    how.require_unasked(f"{what} names the split of each row")
    return True


def groups_in_both(of: Mapping[str, Iterable[str]], column: str) -> tuple[str, ...]:
    """Say which groups are in two splits, where these were not cut here.

    Args:
        of: the groups of the rows of each split that has some.
        column: of the groups.
    """
    inside = {split: set(groups) - {""} for split, groups in of.items()}
    said = []
    for one, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        if both := inside.get(one, set()) & inside.get(other, set()):
            count = f"{len(both):,} {'group' if len(both) == 1 else 'groups'} of {column} in {one}"
            said.append(
                f"{count} {'is' if len(both) == 1 else 'are'} in {other} too: "
                f"{listed(sorted(both), 3)}"
            )
    return tuple(said)


def cut(
    labels: Tensor,
    classes: Sequence[str],
    how: Cutting,
    groups: Tensor | None,
    what: str,
    places: Sequence[str],
    passed_over: str | None = None,
) -> tuple[dict[str, Tensor], str]:
    """Cut rows into a training and a test split, each class keeping its share.

    Args:
        labels: of one of the forms of `targets.task_of`.
        classes: their names.
        how: to cut.
        groups: int64 ``[N]``; rows of one group come into one split. None: each row by itself.
        what: the rows are, for errors: the name of their file.
        places: what to call each row in an error.
        passed_over: a column of splits that the file has, see `takes_column`.

    Returns:
        The rows of each split, ascending, and a sentence about the cut.

    Raises:
        DataError: too few rows, or groups, for each split.
    """
    alone = task_of(labels) == "single_label"
    rows, by = len(labels), "class" if groups is None else "group and class"
    if not alone:
        by, labels = "chance" if groups is None else "group", as_parts(labels)
    if how.folds is None:
        if groups is None and (alone or rows < 2):
            _require_enough(labels, classes, how.test, what, places)
        if groups is None:
            parts = stratified_cut(labels, how.test, how.seed)
        else:
            parts = grouped_cut(labels, groups, how.test, how.seed, "dataset.loader.test")
        said = f"cut by {by} with dataset.loader.test_seed={how.seed}"
    else:
        parts = _fold(labels, how, groups, what)
        said = (
            f"part {how.fold} of {how.folds} cut by {by} with dataset.loader.test_seed={how.seed}"
        )
    train, test = parts
    note = f"{what} has no test split: it is {len(test):,} of its {rows:,} rows, {said}"
    if passed_over is not None:
        note = (
            f"the test split of {what} is {len(test):,} of its {rows:,} rows, {said}; its column "
            f"{passed_over!r} is passed over, so that rows which that calls test are trained on"
        )
    return {"train": train, "test": test}, note


def _require_enough(
    labels: Tensor, classes: Sequence[str], share: float, what: str, places: Sequence[str]
) -> None:
    counts = torch.bincount(labels, minlength=len(classes))
    if (lonely := (counts == 1).nonzero().flatten()).numel():
        row = int((labels == lonely[0]).nonzero()[0])
        raise DataError(
            f"{what} has only one row with the label {quoted(classes[int(lonely[0])])} "
            f"({places[row]}), which cannot be in two splits; add rows, or mend the label"
            f"{says_task(classes)}"
        )
    rows, present = len(labels), int((counts > 0).sum())
    held = math.ceil(share * rows)
    if min(held, rows - held) < present:
        more = math.ceil(100 * present / rows) / 100
        way = f"set dataset.loader.test={more:g}" if 2 * present <= rows else "add rows"
        raise DataError(
            f"{what} has {rows:,} rows of {present:,} classes, of which dataset.loader.test="
            f"{share:g} puts {held:,} into the test; each class needs one in either part: {way}"
        )


def _fold(labels: Tensor, how: Cutting, groups: Tensor | None, what: str) -> tuple[Tensor, Tensor]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # takes a second

    assert how.folds is not None
    present = torch.bincount(labels)
    least = int(present[present > 0].min())
    if groups is None and least < how.folds:
        raise DataError(
            f"{what} has {least} rows of its rarest label; dataset.loader.folds={how.folds} needs "
            f"as many of each: set folds to {max(least, 2)} or less, or add rows"
        )
    if groups is not None and (count := len(torch.unique(groups))) < how.folds:
        raise DataError(
            f"{what} has {count} groups; dataset.loader.folds={how.folds} needs as many"
        )
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    parts = kind(how.folds, shuffle=True, random_state=how.seed).split(
        np.zeros(len(labels)), labels.numpy(), None if groups is None else groups.numpy()
    )
    train, test = list(parts)[how.fold]
    return torch.from_numpy(np.sort(train)), torch.from_numpy(np.sort(test))


def by_column(
    values: Sequence[str], places: Sequence[str], what: str, column: str
) -> dict[str, Tensor]:
    """Part rows by a column that names splits.

    Returns:
        The rows of each split that there is: train, test and perhaps validation.

    Raises:
        DataError: a value names no split, or there is no training or test row.
    """
    roles: Mapping[str, str] = {name: role for role, names in ROLES.items() for name in names}
    rows: dict[str, list[int]] = {"train": [], "test": [], "validation": []}
    for row, (value, place) in enumerate(zip(values, places, strict=True)):
        role = roles.get(value.strip().casefold())
        if role is None:
            raise DataError(
                f"{what} has {quoted(value)} as {column} in {place}; allowed: "
                "train, test, validation"
            )
        rows[role].append(row)
    for role in ("train", "test"):
        if not rows[role]:
            there = listed(role for role, found in rows.items() if found)
            raise DataError(f"{what} has no row of split {role} in column {column}, only: {there}")
    return {role: torch.tensor(found) for role, found in rows.items() if found}


def numbered(groups: Sequence[str], places: Sequence[str], what: str, column: str) -> Tensor:
    """Number groups by their names.

    Raises:
        DataError: a row without a group.
    """
    numbers: dict[str, int] = {}
    for group, place in zip(groups, places, strict=True):
        if not group.strip():
            raise DataError(f"{what} has an empty {column} in {place}; fill or remove it")
        numbers.setdefault(group, len(numbers))
    return torch.tensor([numbers[group] for group in groups])
