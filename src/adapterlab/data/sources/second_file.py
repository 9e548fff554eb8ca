"""Labels that are in another file than the examples, found by what both files call a row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import listed, quoted
from adapterlab.data.sources.columns import USUAL, Columns, find
from adapterlab.data.sources.labelling import ONE_LABEL, Reading
from adapterlab.data.sources.notes import Note, noted
from adapterlab.data.sources.tables import Table, Written, read_table
from adapterlab.data.sources.written_labels import as_written


class Labels(NamedTuple):
    """What a file of labels says.

    Attributes:
        path: the file.
        of: the label of each example, by what the file calls it.
        splits: the name of its split, likewise; empty if the file has no such column.
        groups: its group, likewise; empty if no column of groups was named.
        integers: as that of a :class:`~adapterlab.data.sources.text_tables.TextTable`.
        names: the class names, if the file states them.
        notes: how the file was read.
        column: of the labels.
    """

    path: Path
    of: Mapping[str, Any]
    splits: Mapping[str, str]
    groups: Mapping[str, str]
    integers: bool | None
    names: tuple[str, ...] | None
    notes: tuple[Note, ...]
    column: str = "label"


def read_labels(
    path: Path, wanted: Columns, written: Written, reading: Reading = ONE_LABEL
) -> Labels:
    """Read a file of labels.

    Args:
        path: the file.
        wanted: its columns; of these ``id`` says what the file calls an example: by default the
            column named ``id``, ``file`` or the like, or the only other one.
        written: how the file is written.
        reading: how labels are read.

    Raises:
        DataError: the file is broken or lacks a column, a label is missing, or an example is there
            twice with different labels, splits or groups.
    """
    found = []
    keys = [wanted.id]

    def choose(existing: Sequence[str]) -> list[str]:
        usual = (*USUAL["id"], *USUAL["image"])
        by_name = {name.casefold(): name for name in reversed(existing)}
        keys[0] = wanted.id or next((by_name[one] for one in usual if one in by_name), None)
        columns = Columns(keys[0], wanted.label, keys[0], wanted.split, wanted.group)
        found.append(find(path, existing, columns, labels=True))
        return list(found[-1].names.values())

    table = read_table(path, choose, written)
    if not len(table):
        raise DataError(f"{path} has no rows")
    names = found[0].names
    labels, integers, note = reading.column(table, found[0].labels)
    _require_said(table, names["text"], labels)

    def by_key(what: str, values: Sequence[Any]) -> dict[str, Any]:
        return _one_each(table, names["text"], what, values)

    def other(role: str) -> dict[str, str]:
        return by_key(names[role], _column(table, names[role])) if role in names else {}

    return Labels(
        path,
        by_key("label", labels),
        other("split"),
        other("group"),
        integers,
        table.names.get(names["label"]),
        (*table.notes, *noted(path.name, found[0].note(), note)),
        names["label"],
    )


def _column(table: Table, name: str) -> list[str]:
    return ["" if value is None else as_written(value) for value in table.values[name]]


def _require_said(table: Table, key: str, labels: Sequence[Any]) -> None:
    for name, label, place in zip(_column(table, key), labels, table.places, strict=True):
        if not name.strip():
            raise DataError(f"{table.path} has an empty {key} in {place}; fill or remove it")
        if isinstance(label, str) and not label.strip():
            raise DataError(f"{table.path} has an empty label in {place}; fill or remove it")


def _one_each(table: Table, key: str, what: str, values: Sequence[Any]) -> dict[str, Any]:
    """What a column says of each example; refused where it says two things of one."""
    keys = _column(table, key)
    of = dict(zip(keys, values, strict=True))
    for name, value, place in zip(keys, values, table.places, strict=True):
        if of[name] != value:
            raise DataError(
                f"{table.path} has {quoted(name)} with the {what} {_told(value)} in {place}, and "
                f"elsewhere with {_told(of[name])}; keep one"
            )
    return of


def _told(label: Any) -> str:
    return quoted(label) if isinstance(label, str) else str(label)


def keys_of(file: Path, root: Path) -> tuple[str, ...]:
    """What a file of labels may call a file, the most exact first."""
    inside = file.relative_to(root)
    return (
        *(inside.as_posix(), inside.with_suffix("").as_posix()),
        *(file.name, file.stem),
    )


def looked_up(
    candidates: Sequence[Sequence[str]], places: Sequence[str], labels: Labels
) -> tuple[list[str], tuple[Note, ...]]:
    """Find which of some names the file of labels has for each example.

    Args:
        candidates: what each example may be called.
        places: what to call each example in an error.
        labels: of the file.

    Returns:
        The names, and a note on labels without an example, if there are any.

    Raises:
        DataError: an example has no label, or two have one name.
    """
    keys = []
    seen: dict[str, str] = {}
    for names, place in zip(candidates, places, strict=True):
        key = next((name for name in names if name in labels.of), None)
        if key is None:
            raise DataError(
                f"{labels.path} has no label for {quoted(names[0])} ({place}); it has: "
                f"{listed(labels.of, 5)}"
            )
        if key in seen:
            raise DataError(
                f"{seen[key]} and {place} are both {quoted(key)} in {labels.path}; it has to say "
                "which is which"
            )
        seen[key] = place
        keys.append(key)
    left = [key for key in labels.of if key not in seen]
    count = "1 label has" if len(left) == 1 else f"{len(left):,} labels have"
    note = f"{count} no example: {listed(left, 3)}" if left else None
    return keys, noted(labels.path.name, note)
