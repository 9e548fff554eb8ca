"""Labels as the files have them: one of each row, by its type."""

import re
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import quoted
from adapterlab.data.sources.tables import Table

_FRACTION = re.compile(r"[+-]?\d*[.,]\d*[1-9]\d*")

_JSON_NAMES = {str: "strings", int: "integers", bool: "true and false"}


def labels_of(table: Table, column: str) -> list[str]:
    """A column of labels as they are written: integers, strings, or true and false.

    Raises:
        DataError: a label is missing or of another type; the text names its row.
    """
    kind = table.types.get(column)
    if kind is not None and not (
        is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    ):
        hint = "; task=regression learns numbers" if pa.types.is_floating(kind) else ""
        raise DataError(
            f"{table.path} has {kind} in column {column}; allowed: integers or strings{hint}"
        )
    return [as_written(value) for value in of_types(table, column, (str, int, bool))]


def as_written(value: str | int | bool) -> str:
    """A value as the file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def integers_of(table: Table, column: str) -> bool | None:
    """Whether labels are integers by type; None where the file has no types, or several."""
    if table.format == "csv":
        return None
    kinds = {type(value) for value in table.values[column]}
    return None if len(kinds) > 1 else int in kinds


def of_types(table: Table, column: str, types: tuple[type, ...]) -> list[Any]:
    """A column whose values are all of some types.

    Raises:
        DataError: one is missing or of another type; the text names its row.
    """
    values = table.values[column]
    for value, place in zip(values, table.places, strict=True):
        if value is None:
            raise DataError(f"{table.path} has no {column} in {place}; fill or remove it")
        if type(value) not in types:
            hint = ""
            if isinstance(value, dict):
                hint = "; write what is nested into columns of its own"
            elif isinstance(value, float) and int in types:
                hint = "; task=regression learns numbers"
            raise DataError(
                f"{table.path} has {quoted_json(value)} as {column} in {place}; allowed: "
                f"{' or '.join(_JSON_NAMES[kind] for kind in types if kind is not bool)}{hint}"
            )
    return values


def says_task(labels: Iterable[str]) -> str:
    """Return what to do where labels are numbers with a fraction, which are seldom classes."""
    return "; task=regression learns numbers" if any(map(_FRACTION.fullmatch, labels)) else ""


def quoted_json(value: Any) -> str:
    """A value as JSON writes it, cut short."""
    import json

    try:
        return json.dumps(value)[:40]
    except (TypeError, ValueError):
        return quoted(str(value))


def is_text(kind: Any) -> bool:
    """Whether a type of parquet is that of texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
