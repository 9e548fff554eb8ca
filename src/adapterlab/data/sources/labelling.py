"""What the labels of a table mean for a task: classes, several labels an example, or numbers."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import folded, listed, quoted
from adapterlab.config.tasks import Task
from adapterlab.data.sources.tables import Table
from adapterlab.data.sources.written_labels import (
    as_written,
    integers_of,
    labels_of,
    quoted_json,
    says_task,
)

SEPARATORS = ("|", ";", ",")
"""What may stand between labels in one cell, the likeliest first."""

_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True)
class Reading:
    """How labels are read.

    Attributes:
        task: what they are for.
        separator: between several labels of one cell; None finds it.
    """

    task: Task = "single_label"
    separator: str | None = None

    def column(
        self, table: Table, columns: Sequence[str]
    ) -> tuple[Sequence[Any], bool | None, str | None]:
        """Read the labels of a table's rows.

        Args:
            table: with the columns.
            columns: of the labels: one, or of several labels one each.

        Returns:
            The labels: as they are written; numbers; or tuples of labels. Whether they are
            integers by type (None: the file does not say), and what there is to say.

        Raises:
            DataError: a label is missing, or means nothing for the task; names the row.
        """
        if len(columns) > 1 and self.task != "multi_label":
            raise DataError(
                f"dataset.loader.label_column=[{','.join(columns)}] names {len(columns)} columns; "
                "task=multi_label reads several, others one"
            )
        if self.task == "regression":
            return _numbers(table, columns[0]), None, _on_thousands(table, columns[0])
        if self.task == "multi_label":
            return self._several(table, columns)
        if isinstance(first := table.values[columns[0]][0], list):
            raise DataError(
                f"{table.path} has lists as {columns[0]}, such as {quoted_json(first)}; "
                "task=multi_label reads several labels for each example"
            )
        return labels_of(table, columns[0]), integers_of(table, columns[0]), None

    def _several(
        self, table: Table, columns: Sequence[str]
    ) -> tuple[Sequence[Any], bool | None, str | None]:
        if len(columns) > 1:
            return list(_marked(table, columns)), False, None
        (column,) = columns
        values = table.values[column]
        separator, note = self.separator, None
        texts = [v for v in values if isinstance(v, str) and not v.lstrip().startswith("[")]
        if separator is None:
            separator = next((s for s in SEPARATORS if any(s in text for text in texts)), None)
            if separator is not None:
                note = (
                    f"labels in {column!r} are between {separator!r} "
                    "(dataset.loader.label_separator names another)"
                )
        rows = [
            _labels_in(value, separator, table, column, place)
            for value, place in zip(values, table.places, strict=True)
        ]
        plain = [one for row in rows for one in row]
        integers = None if table.format == "csv" else bool(plain) and type(plain[0]) is int
        bare = sum(not row for row in rows)
        if bare:
            without = f"{bare:,} of {len(rows):,} rows have no label"
            note = without if note is None else f"{note}; {without}"
        return [tuple(as_written(one) for one in row) for row in rows], integers, note


ONE_LABEL = Reading()

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")

_MOST = 20
"""Different numbers, some with a fraction, above which they are taken for no classes."""


def _numbers(table: Table, column: str) -> list[float]:
    found = []
    for value, place in zip(table.values[column], table.places, strict=True):
        if value is None or (isinstance(value, str) and not value.strip()):
            raise DataError(f"{table.path} has no {column} in {place}; fill or remove it")
        try:
            other = isinstance(value, bool | list) or "_" in str(value)  # Python's 1_000
            number = math.nan if other else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"{table.path} has {quoted_json(value)} as {column} in {place}; task=regression "
                "learns numbers, such as 3.5"
            )
        found.append(number)
    return found


def _on_thousands(table: Table, column: str) -> str | None:
    """Say that points are decimal points, where all of them could be between thousands: 1.234."""
    texts = [value.strip() for value in table.values[column] if isinstance(value, str)]
    dotted = [text for text in texts if "." in text]
    if not dotted or not all(map(_THOUSANDS.fullmatch, dotted)):
        return None
    number = dotted[0]
    return (
        f"points in {column!r} are decimal points: {number} is {float(number):g}, not "
        f"{number.replace('.', '')}"
    )


def _marked(table: Table, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield which of some columns are marked in each row."""
    for row, place in enumerate(table.places):
        found = []
        for column in columns:
            value = table.values[column][row]
            said = "" if value is None else as_written(value).strip().lower()
            if said not in (*_YES, *_NO):
                raise DataError(
                    f"{table.path} has {quoted_json(value)} as {column} in {place}; of several "
                    "columns of labels each says 1 or 0"
                )
            if said in _YES:
                found.append(column)
        yield tuple(found)


def _labels_in(
    value: Any, separator: str | None, table: Table, column: str, place: str
) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError(
                f"{table.path} has {quoted(value[:40])} as {column} in {place}, which is no JSON "
                'list; such as ["a", "b"]'
            ) from None
    if isinstance(value, str):
        parts = [value] if separator is None else value.split(separator)
        return [part.strip() for part in parts if part.strip()]
    items = value if isinstance(value, list) else [value]
    for item in items:
        if type(item) not in (str, int, bool) or (isinstance(item, str) and not item.strip()):
            raise DataError(
                f"{table.path} has {quoted_json(item)} among the labels in {place}; allowed: "
                "strings or integers"
            )
    return items


@dataclass(frozen=True)
class Labelled:
    """Rows with labels as they were read.

    Attributes:
        path: of their file.
        labels: see `Reading.column`.
        places: what to call each row in an error.
        integers: whether labels are integers by type.
        names: class names that the file states.
        column: of the labels.
    """

    path: Path
    labels: Sequence[Any]
    places: Sequence[str]
    integers: bool | None = None
    names: Sequence[str] | None = None
    column: str = "label"


@dataclass(frozen=True)
class Labelling:
    """How labels become a tensor.

    Attributes:
        classes: names of classes or labels; of numbers, what they are called.
        tensor: makes it of rows; a DataError where a label has no name.
    """

    classes: tuple[str, ...]
    tensor: Callable[[Labelled], Tensor]

    @classmethod
    def of(
        cls, task: Task, train: Labelled, given: Sequence[str] | None, columns: Sequence[str]
    ) -> "Labelling":
        """Find the names in the training rows, unless the file or the user states them.

        Args:
            task: what is learnt.
            train: the training rows.
            given: names that the user gives.
            columns: of the labels, if several; they are the names then.
        """
        if task == "regression":
            return cls((train.column,), lambda rows: torch.tensor(rows.labels, dtype=torch.float64))
        if task == "single_label":
            names, index = classes_of(train.labels, train.integers, train.names, given)
            if not (train.names or given) and len(names) > _MOST and (hint := says_task(names)):
                raise DataError(
                    f"{train.path} has {len(names):,} different numbers as {train.column}, such as "
                    f"{quoted(next(one for one in names if says_task([one])))}{hint}; as classes "
                    "they take dataset.classes=[...]"
                )
            return cls(names, lambda rows: _indices(rows, index))
        if len(columns) > 1:
            names, index = tuple(columns), {name: i for i, name in enumerate(columns)}
        else:
            flat = list(chain.from_iterable(train.labels))
            names, index = classes_of(flat, train.integers, train.names, given)
        if len(names) < 2:
            only = quoted(names[0]) if names else "none"
            raise DataError(
                f"{train.path} has {len(names)} label in all of its training rows ({only}); "
                "task=multi_label needs two or more"
            )
        return cls(names, lambda rows: _marks(rows, index))


def classes_of(
    labels: Sequence[str],
    integers: bool | None,
    stated: Sequence[str] | None,
    given: Sequence[str] | None,
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The class names, and the class index of each label that may occur, as written.

    Args:
        labels: of the training rows.
        integers: whether they are integers by type; None where the file has no types.
        stated: the names that the file itself states.
        given: the names that the user gives.
    """
    names = tuple(stated or given or ())
    if not names:
        distinct = set(labels)
        numeric = all(label.removeprefix("-").isdecimal() for label in distinct)
        names = tuple(sorted(distinct, key=_by_number) if numeric else sorted(distinct))
        by_name = True
    elif integers is None:
        by_name = not set(names).isdisjoint(labels)
    else:
        by_name = not integers
    return names, {name if by_name else str(i): i for i, name in enumerate(names)}


def _by_number(label: str) -> tuple[int, str]:
    """Sort numbers, and `1` and `01` too: a set has them in another order in each process."""
    return int(label), label


def _indices(rows: Labelled, index: Mapping[str, int]) -> Tensor:
    for label, place in zip(rows.labels, rows.places, strict=True):
        _require_known(rows, label, place, index)
    return torch.tensor([index[label] for label in rows.labels])


def _marks(rows: Labelled, index: Mapping[str, int]) -> Tensor:
    marks = torch.zeros(len(rows.labels), len(index), dtype=torch.bool)
    for row, (labels, place) in enumerate(zip(rows.labels, rows.places, strict=True)):
        for label in labels:
            _require_known(rows, label, place, index)
            marks[row, index[label]] = True
    return marks


def _require_known(rows: Labelled, label: str, place: str, index: Mapping[str, int]) -> None:
    if label in index:
        return
    near = next((name for name in index if folded(name) == folded(label)), None)
    hint = f" (did you mean {quoted(near)}?)" if near else ""
    raise DataError(
        f"{rows.path} has label {quoted(label)} in {place}; allowed: {listed(index)}{hint}"
    )
