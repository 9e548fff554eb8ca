"""Some columns of one table: parquet, CSV, TSV, JSON lines or JSON; every row, or an error.

Nothing is asked of the values here; see `text_tables`. Files of text are read as a stream, so that
in memory there is what was asked for, and no copy of the file.
"""

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.config.class_names import listed, quoted
from adapterlab.data.sources.delimited import dialect_of, require_width, rows
from adapterlab.data.sources.encodings import encoding_of
from adapterlab.data.sources.notes import Note, noted


@dataclass(frozen=True)
class Written:
    """How a file is written, where that is to be said rather than found.

    Attributes:
        encoding: of a file of text.
        delimiter: between the columns of a CSV file.
        columns: names of the columns of a CSV file without a header.

    Raises:
        ConfigError: a delimiter that is no single character.
    """

    encoding: str | None = None
    delimiter: str | None = None
    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ConfigError(
                f"dataset.loader.delimiter={self.delimiter!r} should be one character"
            )


AS_FOUND = Written()

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


class Places(Sequence[str]):
    """What to call each row, made when it is asked for: a file may have millions of rows.

    Args:
        form: of a place: ``line {}``.
        numbers: of the rows.
    """

    def __init__(self, form: str, numbers: Sequence[int]) -> None:
        self.form, self.numbers = form, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> "Places": ...

    def __getitem__(self, row: int | slice) -> "str | Places":
        if isinstance(row, slice):
            return Places(self.form, self.numbers[row])
        return self.form.format(self.numbers[row])


Choose = Callable[[Sequence[str]], Sequence[str]]
"""Names the columns to read, of those that a table has."""


@dataclass(frozen=True)
class Table:
    """Columns of one file.

    Attributes:
        path: the file.
        values: of each column that was read, by name: texts of a CSV file, in which all is text,
            and Python's values of all others; None where a value is missing.
        places: what to call each row: ``line 3``.
        types: of the columns of a parquet file, by name; empty for others.
        names: the class names of columns whose file states them.
        format: ``csv``, ``json`` or ``parquet``.
        notes: how the file was read.
    """

    path: Path
    values: Mapping[str, list[Any]]
    places: Sequence[str]
    format: str
    types: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.places)


def read_table(path: Path, choose: Choose, written: Written = AS_FOUND) -> Table:
    """Read some columns of a file; its suffix says how.

    Text files may have a byte-order mark, be in UTF-16 or in an encoding of Western Europe, with
    any line ends and any usual mark between columns; what nobody expects is noted. Empty lines are
    passed over.

    Args:
        path: a file whose suffix is in :data:`SUFFIXES`.
        choose: which columns; it raises a DataError where one is missing.
        written: how the file is written, where that is not to be found.

    Raises:
        DataError: the file is broken, or a column is missing or there twice; the text names file
            and row.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        packed = "; unpack it first" if path.suffix.lower() in _PACKED else ""
        allowed = ", ".join(SUFFIXES)
        raise DataError(f"{path} is no table that can be read; allowed: {allowed}{packed}")
    return read(path, choose, written)


def require_columns(
    path: Path, existing: Sequence[str], wanted: Sequence[str], remedy: str = ""
) -> None:
    """Refuse a table that lacks a column, or has it twice.

    Args:
        path: of the table.
        existing: the columns that it has.
        wanted: those that it must have.
        remedy: what can be done where it lacks one.

    Raises:
        DataError: it does.
    """
    for column in wanted:
        if column not in existing:
            options = listed(existing) or "nothing"
            raise DataError(
                f"{path} has no column {column}; it has: {options}" + (remedy and f"; {remedy}")
            )
        if existing.count(column) > 1:
            raise DataError(f"{path} has more than one column {column}; rename or remove one")


def _chosen(path: Path, existing: Sequence[str], choose: Choose) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(choose(existing)))
    require_columns(path, existing, wanted)
    return wanted


def _read_parquet(path: Path, choose: Choose, written: Written) -> Table:
    try:
        wanted = _chosen(path, pq.read_schema(path).names, choose)
        table = pq.read_table(path, columns=list(wanted), partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a parquet file, or damaged: {error}") from error
    places = Places("row {} (counted from 0)", range(len(table)))
    columns = {name: _plain(table[name]) for name in wanted}
    features = datasets.Features.from_arrow_schema(table.schema)
    return Table(
        path,
        {name: _values(column, path, name, places) for name, column in columns.items()},
        places,
        "parquet",
        types={name: column.type for name, column in columns.items()},
        names={
            name: tuple(of_each.names)
            for name, feature in features.items()
            if isinstance(of_each := getattr(feature, "feature", feature), datasets.ClassLabel)
        },
    )


def _plain(column: Any) -> Any:
    """A column without the dictionary of pandas' categories."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _values(column: Any, path: Path, name: str, places: Sequence[str]) -> list[Any]:
    """The values of a column; parquet does not check that its strings are UTF-8."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError as error:
        for value, place in zip(column, places, strict=True):
            with suppress(UnicodeDecodeError):
                value.as_py()
                continue
            raise DataError(f"{path} has a {name} in {place} that is not UTF-8") from error
        raise
    return values


def _read_csv(path: Path, choose: Choose, written: Written) -> Table:
    encoding = encoding_of(path, written.encoding)
    dialect = dialect_of(path, encoding.name, written.delimiter)
    with closing(rows(path, encoding.name, dialect)) as read:
        if written.columns is None:
            _, first = next(read, (1, []))
            header = [name.strip() for name in first]
        else:
            header = list(written.columns)
        wanted = _chosen(path, header, choose)
        numbers = [header.index(name) for name in wanted]
        values: dict[str, list[Any]] = {name: [] for name in wanted}
        filled = [values[name] for name in wanted]
        lines = array("q")
        for line, row in read:
            require_width(path, line, row, len(header), dialect.mark)
            for number, column in zip(numbers, filled, strict=True):
                column.append(row[number])
            lines.append(line)
    notes = noted(path.name, encoding.note, *dialect.notes(path))
    return Table(path, values, Places("line {}", lines), "csv", notes=notes)


def _read_json(path: Path, choose: Choose, written: Written) -> Table:
    encoding = encoding_of(path, written.encoding)
    values: dict[str, list[Any]] = {}
    numbers = array("q")
    form = ""
    wanted: tuple[str, ...] = ()
    known: dict[str, None] = {}
    for place, number, record in records(path, encoding.name):
        if not numbers:
            form = place
            wanted = _chosen(path, list(record), choose)
            values = {name: [] for name in wanted}
            known = dict.fromkeys(record)
        if not record.keys() <= known.keys():
            known |= dict.fromkeys(record)
            _require_from_the_first(path, list(known), choose, wanted, place.format(number))
        for name in wanted:
            values[name].append(record.get(name))
        numbers.append(number)
    return Table(path, values, Places(form, numbers), "json", notes=noted(path.name, encoding.note))


def _require_from_the_first(
    path: Path, existing: Sequence[str], choose: Choose, wanted: Sequence[str], place: str
) -> None:
    """Refuse a column that would be read, had the first row had it: as of splits or ids."""
    try:
        later = [name for name in _chosen(path, existing, choose) if name not in wanted]
    except DataError:  # what is chosen by the first row does
        return
    if later:
        raise DataError(
            f"{path} has {later[0]} in {place}, but not in its first row; write it in all of them"
        )


def records(path: Path, encoding: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the form of a row's place, its number, and the row.

    Raises:
        DataError: a row is broken; the text names it.
    """
    with path.open(encoding=encoding, newline="\n") as file:
        if path.suffix.lower() == ".json" and _first_sign(file) == "[":
            yield from _of_array(path, file.read())
            return
        for number, line in enumerate(file, start=1):
            if line.strip():
                place = f"line {number}"
                record = _object(_parsed(line.removesuffix("\n"), path, place), path, place)
                yield "line {}", number, record


def _first_sign(file: Any) -> str:
    sign = ""
    while (read := file.read(1)) and not (sign := read.strip()):
        pass
    file.seek(0)
    return sign


def _of_array(path: Path, content: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    form = "row {} (counted from 0)"
    for row, record in enumerate(_parsed(content, path, "its array")):
        yield form, row, _object(record, path, form.format(row))


def _parsed(text: str, path: Path, place: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # what is deep or long is no syntax error
        reason = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise DataError(f"{path} is broken in {place}: {reason}") from error


def _object(record: Any, path: Path, place: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise DataError(f"{path} is broken in {place}: wanted one JSON object a line")
    return record


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{quoted(twice)} is there twice")
    return record


_READERS = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".tab": _read_csv,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
}
SUFFIXES = tuple(_READERS)
