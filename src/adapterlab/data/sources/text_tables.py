"""Texts and labels of one parquet, CSV, TSV or JSON file; every row, or an error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import seen
from adapterlab.data.sources.columns import MORE, SECOND, Columns, Found, find
from adapterlab.data.sources.labelling import ONE_LABEL, Labelled, Reading
from adapterlab.data.sources.notes import Note, noted
from adapterlab.data.sources.tables import AS_FOUND, SUFFIXES, Table, Written, read_table
from adapterlab.data.sources.written_labels import as_written, is_text, of_types
from adapterlab.data.splits import TextSplit

__all__ = ["SUFFIXES", "TextTable", "read_text_table"]


class TextTable(NamedTuple):
    """The rows of one file.

    Attributes:
        path: the file.
        texts: none of them empty; of pairs the first.
        labels: as `Reading.column` reads them; empty where they are in another one.
        places: what to call each row in an error.
        integers: whether labels are integers by type; None where the file has no types.
        names: the class names, if the file states them.
        ids: what the file calls its rows; None if it has no such column.
        splits: the name of each row's split; None if the file has no such column.
        groups: of the rows; None if no column of groups was named.
        notes: how the file was read.
        seconds: the second texts of pairs; None where there are none.
        column: of the labels.
        content: the column of the texts, or the two of pairs; none where the file has no columns.
    """

    path: Path
    texts: Sequence[str]
    labels: Sequence[Any]
    places: Sequence[str]
    integers: bool | None
    names: tuple[str, ...] | None = None
    ids: Sequence[str] | None = None
    splits: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    notes: tuple[Note, ...] = ()
    seconds: Sequence[str] | None = None
    column: str = "label"
    content: tuple[str, ...] = ()

    @property
    def labelled(self) -> Labelled:
        """The rows' labels."""
        return Labelled(self.path, self.labels, self.places, self.integers, self.names, self.column)

    def split(self, labels: Tensor) -> TextSplit:
        """Return the texts, or pairs of texts, with these labels."""
        if self.seconds is None:
            return TextSplit(tuple(self.texts), labels)
        return TextSplit.of_pairs(tuple(zip(self.texts, self.seconds, strict=True)), labels)


def read_text_table(
    path: Path,
    text_column: str | Sequence[str] | None = None,
    label_column: str | Sequence[str] | None = None,
    *,
    id_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    labels: bool = True,
    written: Written = AS_FOUND,
    reading: Reading = ONE_LABEL,
    empty_texts: bool = False,
) -> TextTable:
    """Read a file of texts and labels; its suffix says how, see `tables`.

    Args:
        path: a file whose suffix is in :data:`SUFFIXES`.
        text_column: name of the column of texts, or of the two of pairs; None guesses it, and
            notes the guess.
        label_column: name of the column of labels, integers or strings; None guesses it. Of
            several labels there may be a column for each.
        id_column: name of a column that names rows; None takes one that is called so.
        split_column: name of a column that names splits; None takes one that is called so.
        group_column: name of a column of groups.
        labels: whether there are labels in this file.
        written: how the file is written, where that is not to be found.
        reading: how labels are read.
        empty_texts: whether one text of a pair may be empty, which is noted.

    Raises:
        DataError: the file is broken, lacks a column or rows, or has a row without a text or label;
            the text names file and row.
    """
    wanted = Columns(text_column, label_column, id_column, split_column, group_column)
    found: list[Found] = []

    def choose(existing: Sequence[str]) -> list[str]:
        try:
            found.append(find(path, existing, wanted, labels=labels))
        except DataError as error:
            if reading.task != "multi_label":
                raise
            several = "labels in a column each are dataset.loader.label_column=[a,b]"
            raise DataError(f"{error}; {several}") from None
        return list(found[-1].names.values())

    table = read_table(path, choose, written)
    if not len(table):
        raise DataError(f"{path} has no rows")
    (columns,) = found[:1]
    names = columns.names
    plain = {
        role: _plain(table, name)
        for role, name in names.items()
        if role not in _CONTENT and not role.startswith(MORE)
    }
    own: tuple[Any, bool | None, str | None] = (), None, None
    if labels:
        own = reading.column(table, columns.labels)
    made = TextTable(
        path,
        texts=_texts(table, names["text"]),
        labels=own[0],
        places=table.places,
        integers=own[1],
        names=table.names.get(names.get("label", "")),
        ids=plain.get("id"),
        splits=plain.get("split"),
        groups=plain.get("group"),
        notes=(*table.notes, *noted(path.name, columns.note(), own[2])),
        seconds=_texts(table, names[SECOND]) if SECOND in names else None,
        column=names.get("label", "label"),
        content=tuple(names[role] for role in ("text", SECOND) if role in names),
    )
    _require_whole(made, names, empty_texts)
    return made if not empty_texts else made._replace(notes=(*made.notes, *_halves(made, names)))


_CONTENT = ("text", "label", SECOND)
_SHORT = 20
"""Of longer texts nobody asks whether all their characters are such as are not drawn."""


def _require_whole(table: TextTable, names: Any, halves: bool) -> None:
    """Refuse rows that lack something; of pairs one text if `halves` are not allowed."""
    seconds = table.seconds or ()
    other = {"text": seconds, SECOND: table.texts} if seconds else {}
    hint = "; dataset.loader.empty_texts=true keeps pairs of which one text is empty"
    for role, values in (("text", table.texts), (SECOND, seconds), ("label", table.labels)):
        for row, (value, place) in enumerate(zip(values, table.places, strict=False)):
            if not isinstance(value, str):
                continue  # a number, or several labels
            column = names[role]
            if is_empty(value) and not (
                halves and role in other and not is_empty(other[role][row])
            ):
                raise DataError(
                    f"{table.path} has an empty {column} in {place}; fill or remove it"
                    + (hint if role in other and not halves else "")
                )
            if not _encodes(value):
                raise DataError(
                    f"{table.path} has half a surrogate pair as {column} in {place}; mend it"
                )


def is_empty(text: str) -> bool:
    """Whether there is nothing in a text that anybody sees."""
    return not text.strip() or (len(text) < _SHORT and not seen(text))


def _halves(table: TextTable, names: Any) -> tuple[Note, ...]:
    """Say of how many pairs one text is empty."""
    pairs = zip(table.texts, table.seconds or (), table.places, strict=False)
    found = [
        (names["text" if is_empty(a) else SECOND], place)
        for a, b, place in pairs
        if is_empty(a) or is_empty(b)
    ]
    if not found:
        return ()
    column, place = found[0]
    share = f"{len(found):,} of {len(table.texts):,} pairs"
    return noted(table.path.name, f"{share} have an empty text, {column} in {place} first")


def _encodes(value: str) -> bool:
    r"""Whether it is Unicode text; JSON's \ud800 is not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(table: Table, column: str) -> list[str]:
    if (kind := table.types.get(column)) is not None and not is_text(kind):
        raise DataError(f"{table.path} has {kind} in column {column}; allowed: strings")
    return of_types(table, column, (str,))


def _plain(table: Table, column: str) -> list[str]:
    """Values that are names of something, as text."""
    return ["" if value is None else as_written(value) for value in table.values[column]]
