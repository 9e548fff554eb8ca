"""Rows of a CSV or TSV file, whatever stands between its columns, read as a stream.

Python's own module reads them. `datasets` reads them through pandas, which takes the text NA for a
missing one, a short row for one with an empty field, and the first column for an index where each
text has one unquoted comma, all without a word, and knows no line numbers.
"""

import csv
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from adapterlab.base.errors import DataError

MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""What may stand between columns, and what to call it."""

TABBED = (".tsv", ".tab")

_LOOKED_AT = 50  # rows from which the mark is told


@dataclass(frozen=True)
class Dialect:
    """How the rows of a file are written.

    Attributes:
        mark: between two columns.
        quoting: of :mod:`csv`.
    """

    mark: str
    quoting: int = csv.QUOTE_MINIMAL

    def notes(self, path: Path) -> tuple[str, ...]:
        """What of it nobody expects by the file's name."""
        usual = "\t" if path.suffix.lower() in TABBED else ","
        notes = []
        if self.mark != usual:
            notes.append(f"columns are between {MARKS.get(self.mark, repr(self.mark))}")
        if self.quoting == csv.QUOTE_NONE:
            notes.append("quotes do not come in pairs: they are taken as they stand")
        return tuple(notes)


def dialect_of(path: Path, encoding: str, mark: str | None = None) -> Dialect:
    """Find out how the rows of a file are written.

    Args:
        path: the file.
        encoding: of the file.
        mark: what stands between its columns; None takes what the first line says (``sep=;``, as
            Excel reads it), or what gives all of the first rows as many fields as the header, and
            more than one.

    Raises:
        DataError: several marks do; the text names them.
    """
    if mark is None:
        mark = _said_first(path, encoding) or _found(path, encoding)
    return Dialect(mark, csv.QUOTE_NONE if _quotes_are_text(path, encoding, mark) else 0)


def rows(
    path: Path, encoding: str, dialect: Dialect
) -> Generator[tuple[int, list[str]], None, None]:
    """Yield the rows that are not empty, each with the number of its first line, from 1.

    It is to be closed: until then the file is open, and Python's limit of a field is another.

    Raises:
        DataError: a row is broken; the text names its line.
    """
    with _opened(path, encoding) as file, _long_fields(path.stat().st_size):
        start = 1
        if _said_first(path, encoding):
            file.readline()
            start = 2
        before, reader = start - 1, _reader(file, dialect)
        try:
            for row in reader:
                if row:
                    yield start, row
                start = before + reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path} is broken in line {start}: {error}") from error


def _reader(file: TextIO, dialect: Dialect) -> Any:
    quoting: Any = dialect.quoting
    return csv.reader(file, strict=True, delimiter=dialect.mark, quoting=quoting)


def _opened(path: Path, encoding: str) -> TextIO:
    try:
        return path.open(encoding=encoding, newline="")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _said_first(path: Path, encoding: str) -> str | None:
    """The mark that the first line names; None where it is no such line."""
    with _opened(path, encoding) as file:
        named = re.fullmatch(r"\ufeff?sep=(.)", file.readline(8).rstrip("\r\n"))
    return named[1] if named else None


def _found(path: Path, encoding: str) -> str:
    usual = ("\t", ",", ";", "|") if path.suffix.lower() in TABBED else tuple(MARKS)
    widths = {one: _width(path, encoding, one) for one in usual}
    regular = [one for one, (width, alike) in widths.items() if width > 1 and alike]
    several = [one for one, (width, _) in widths.items() if width > 1]
    if len(regular) > 1:
        raise DataError(
            f"{path} may have its columns between {' or '.join(MARKS[one] for one in regular)}; "
            "set dataset.loader.delimiter"
        )
    return (regular or several or list(usual))[0]


def _width(path: Path, encoding: str, mark: str) -> tuple[int, bool]:
    """How many fields the first row has, and whether those after it have as many."""
    widths: list[int] = []
    try:
        with closing(rows(path, encoding, Dialect(mark))) as read:
            widths.extend(len(row) for _, row in islice(read, _LOOKED_AT))
    except DataError:
        return (widths or [0])[0], False
    return (widths or [0])[0], len(set(widths)) == 1


def _quotes_are_text(path: Path, encoding: str, mark: str) -> bool:
    """Whether a file with tabs has quotes that stand for themselves, as many programs write them.

    That is so where every line is a row, and one of them cannot be read with quotes in pairs.
    """
    if mark != "\t":
        return False
    width = 0
    in_pairs = True
    with _opened(path, encoding) as file, _long_fields(path.stat().st_size):
        for line in file:
            plain = line.rstrip("\r\n")
            if not plain:
                continue
            fields = plain.split("\t")
            width = width or len(fields)
            if len(fields) != width:
                return False
            if in_pairs and any(field.startswith('"') for field in fields):
                in_pairs = _is_row(plain, width)
    return not in_pairs


def _is_row(line: str, width: int) -> bool:
    try:
        (row,) = csv.reader([line], strict=True, delimiter="\t")
    except csv.Error:
        return False
    return len(row) == width


def require_width(path: Path, line: int, row: Sequence[str], width: int, mark: str) -> None:
    """Refuse a row that has other fields than the header.

    Raises:
        DataError: it has.
    """
    if len(row) != width:
        name = MARKS.get(mark, repr(mark))
        raise DataError(
            f"{path} has {len(row)} fields in line {line} but {width} in its header; put texts "
            f"that contain {name} in double quotes"
        )


@contextmanager
def _long_fields(characters: int) -> Iterator[None]:
    """Let fields be as long as the file; Python's limit is 131,072 characters."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(characters, before))
    try:
        yield
    finally:
        csv.field_size_limit(before)
