"""Two columns, text and label, of one parquet, CSV or JSON-lines file; every row, or an error.

CSV and JSON lines are read by Python's own modules. `datasets` reads them through pandas, which
takes the text NA for a missing one, a short row for one with an empty field, and the first column
for an index where each text has one unquoted comma, all without a word, and knows no line numbers.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import listed, quoted, seen


class TextTable(NamedTuple):
    """The rows of one file.

    Attributes:
        path: the file.
        texts: none of them empty.
        labels: as written in the file.
        places: what to call each row in an error.
        integers: whether labels are integers by type; None where the file has no types.
        names: the class names, if the file states them.
    """

    path: Path
    texts: Sequence[str]
    labels: Sequence[str]
    places: Sequence[str]
    integers: bool | None
    names: tuple[str, ...] | None = None


def read_text_table(path: Path, text_column: str, label_column: str) -> TextTable:
    """Read a file of texts and labels; its suffix says how.

    Text files are UTF-8, with or without a byte-order mark, with any line ends. Empty lines are
    passed over.

    Args:
        path: a file whose suffix is in :data:`SUFFIXES`.
        text_column: name of the column of texts.
        label_column: name of the column of labels, integers or strings.

    Raises:
        DataError: the file is broken, lacks a column or rows, or has a row without a text or label;
            the text names file and row.
    """
    table = _READERS[path.suffix](path, text_column, label_column)
    if not table.texts:
        raise DataError(f"{path} has no rows")
    for text, label, place in zip(table.texts, table.labels, table.places, strict=True):
        for column, value in ((text_column, text), (label_column, label)):
            if not value.strip() or (len(value) < _SHORT and not seen(value)):
                raise DataError(f"{path} has an empty {column} in {place}; fill or remove it")
            if not _encodes(value):
                raise DataError(f"{path} has half a surrogate pair as {column} in {place}; mend it")
    return table


_SHORT = 20
"""Of longer texts nobody asks whether all their characters are such as are not drawn."""


def _encodes(value: str) -> bool:
    r"""Whether it is Unicode text; JSON's \ud800 is not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_parquet(path: Path, text_column: str, label_column: str) -> TextTable:
    try:
        existing = pq.read_schema(path).names
        _require_columns(path, existing, text_column, label_column)
        table = pq.read_table(path, columns=[text_column, label_column], partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a parquet file, or damaged: {error}") from error
    places = [f"row {row} (counted from 0)" for row in range(len(table))]
    texts, labels = (
        _plain(table[name], path, name, places) for name in (text_column, label_column)
    )
    if not _is_text(texts.type):
        raise DataError(f"{path} has {texts.type} in column {text_column}; allowed: strings")
    if not (_is_text(labels.type) or pa.types.is_integer(labels.type)):
        raise DataError(
            f"{path} has {labels.type} in column {label_column}; allowed: integers or strings"
        )
    feature = datasets.Features.from_arrow_schema(table.schema)[label_column]
    return TextTable(
        path,
        texts=_values(texts, path, text_column, places),
        labels=[str(label) for label in _values(labels, path, label_column, places)],
        places=places,
        integers=pa.types.is_integer(labels.type),
        names=tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None,
    )


def _plain(column: Any, path: Path, name: str, places: Sequence[str]) -> Any:
    """A column without nulls, and without the dictionary of pandas' categories."""
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise DataError(f"{path} has no {name} in {places[row]}; fill or remove it")
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


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _read_csv(path: Path, text_column: str, label_column: str) -> TextTable:
    content = _decoded(path)
    texts, labels, places = [], [], []
    with _long_fields(len(content)):
        reader = csv.reader(io.StringIO(content, newline=""), strict=True)
        start = 1
        try:
            header = next(reader, [])
            _require_commas(path, header, text_column)
            _require_columns(path, header, text_column, label_column)
            text, label = header.index(text_column), header.index(label_column)
            start = reader.line_num + 1
            for row in reader:
                if len(row) not in (0, len(header)):
                    raise DataError(
                        f"{path} has {len(row)} fields in line {start} but {len(header)} in its "
                        "header; put texts that contain commas in double quotes"
                    )
                if row:
                    texts.append(row[text])
                    labels.append(row[label])
                    places.append(f"line {start}")
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path} is broken in line {start}: {error}") from error
    return TextTable(path, texts, labels, places, integers=None)


@contextmanager
def _long_fields(characters: int) -> Iterator[None]:
    """Let CSV fields be as long as the file; Python's limit is 131,072 characters."""
    before = csv.field_size_limit(max(characters, 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_json_lines(path: Path, text_column: str, label_column: str) -> TextTable:
    texts: list[str] = []
    labels: list[str] = []
    places: list[str] = []
    kinds = set()
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        record = _record(line, path, place)
        if not texts:
            _require_columns(path, list(record), text_column, label_column)
        for column, types in ((text_column, (str,)), (label_column, (str, int))):
            value = record.get(column)
            if value is None:
                raise DataError(f"{path} has no {column} in {place}; fill or remove it")
            if type(value) not in types:
                raise DataError(
                    f"{path} has {json.dumps(value)[:40]} as {column} in {place}; "
                    f"allowed: {' or '.join(_JSON_NAMES[kind] for kind in types)}"
                )
        texts.append(record[text_column])
        labels.append(str(record[label_column]))
        kinds.add(type(record[label_column]))
        places.append(place)
    return TextTable(path, texts, labels, places, integers=None if len(kinds) > 1 else int in kinds)


def _record(line: str, path: Path, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # what is deep or long is no syntax error
        reason = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise DataError(f"{path} is broken in {place}: {reason}") from error
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


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:4]:
        raise DataError(f"{path} is UTF-16 or UTF-32; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} is not UTF-8 in line {line}{_as_windows(content, error.start)}; save it as "
            "UTF-8"
        ) from error


def _as_windows(content: bytes, start: int) -> str:
    """What the text around a byte would be in the encoding that Windows writes in the West."""
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    words = " ".join(text[max(0, start - 8) : start + 8].split())
    return f" (it may be cp1252, and say {words!r})"


def _require_commas(path: Path, header: Sequence[str], column: str) -> None:
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if len(header) == 1 and column in [field.strip(' "') for field in header[0].split(mark)]:
            raise DataError(f"{path} has its columns between {name}; save it with commas")


def _require_columns(path: Path, existing: Sequence[str], *wanted: str) -> None:
    for column in wanted:
        if column not in existing:
            options = listed(existing) or "nothing"
            raise DataError(f"{path} has no column {column}; it has: {options}")
        if existing.count(column) > 1:
            raise DataError(f"{path} has more than one column {column}; rename or remove one")


_JSON_NAMES = {str: "strings", int: "integers"}
_READERS = {".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_json_lines}
SUFFIXES = tuple(_READERS)
