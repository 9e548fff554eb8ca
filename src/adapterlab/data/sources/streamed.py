"""Rows of a file, or images of a folder, a few at a time: what is to be predicted.

A file may be larger than the memory. All of its columns are kept, for what is predicted goes beside
them.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import listed, quoted

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""Files of a folder that are images."""

FILE = "file"
"""The column that names the images of a folder."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Attributes:
        records: a row each, by column.
        places: what to call each row in an error.
        done: how much of the whole has been read with them, in the unit of `Table.total`.
        table: the same rows with their types, where the file has types.
    """

    records: Sequence[dict[str, Any]]
    places: Sequence[str]
    done: int
    table: Any = None


@dataclass(frozen=True)
class Table:
    """What is read as a stream.

    Attributes:
        path: the file or folder.
        columns: names, in order; of JSON lines those of the first.
        chunks: the rows; they can be gone through once.
        total: how much there is: rows of a parquet file, images of a folder, bytes of others.
        schema: of a parquet file; None for others, whose columns have no types.
        home: the folder that names of images are below.
        of_images: whether the rows are images, named in the column :data:`FILE`.
        notes: how the file was read, a sentence each.
    """

    path: Path
    columns: tuple[str, ...]
    chunks: Iterator[Chunk]
    total: int
    home: Path
    schema: Any = None
    of_images: bool = False
    notes: tuple[str, ...] = field(default=())


def open_table(path: Path, rows: int) -> Table:
    """Open a file of rows, or a folder of images.

    Args:
        path: a file whose suffix is in :data:`SUFFIXES`, one image, or a folder of images, which
            may have folders in it. Hidden files are passed over.
        rows: of a chunk, at most.

    Raises:
        DataError: there is no such file, it is of another kind, or it is broken where it begins.
            What is broken further on is said by the chunks.
    """
    if path.is_dir():
        return _images(path, sorted(_files_below(path)), rows)
    if not path.is_file():
        raise DataError(f"input={path} is no file and no folder")
    suffix = path.suffix.lower()
    if suffix in IMAGES:
        return _images(path.parent, [path], rows)
    if suffix not in _OPEN:
        raise DataError(
            f"input={path} should end in {', '.join(SUFFIXES)}, or be an image or a folder of "
            f"images ({', '.join(IMAGES)})"
        )
    try:
        return _OPEN[suffix](path, rows)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files_below(entry)
        elif entry.suffix.lower() in IMAGES:
            yield entry


def _images(folder: Path, files: Sequence[Path], rows: int) -> Table:
    if not files:
        raise DataError(f"input={folder} has no images; wanted: {', '.join(IMAGES)}")
    names = [file.relative_to(folder).as_posix() for file in files]

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(files), rows):
            some = names[start : start + rows]
            places = [str(file) for file in files[start : start + rows]]
            yield Chunk([{FILE: name} for name in some], places, start + len(some))

    return Table(folder, (FILE,), chunks(), len(files), folder, of_images=True)


def _parquet(path: Path, rows: int) -> Table:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a parquet file, or damaged: {error}") from None
    schema = file.schema_arrow
    _require_once(path, schema.names)

    def chunks() -> Iterator[Chunk]:
        start = 0
        try:
            for batch in file.iter_batches(batch_size=rows):
                places = [f"row {start + row} (counted from 0)" for row in range(len(batch))]
                start += len(batch)
                yield Chunk(batch.to_pylist(), places, start, batch)
        except UnicodeDecodeError:
            raise DataError(f"{path} has a text after row {start} that is not UTF-8") from None
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is damaged after row {start}: {error}") from None

    names = tuple(schema.names)
    return Table(path, names, chunks(), file.metadata.num_rows, path.parent, schema)


def _csv(path: Path, rows: int) -> Table:
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    file = path.open("rb")
    lines = _decoded(path, file)
    csv.field_size_limit(max(path.stat().st_size, csv.field_size_limit()))
    reader = csv.reader(lines, strict=True, delimiter=mark)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{path} is broken in line 1: {error}") from None
    _require_once(path, header)

    def records() -> Iterator[tuple[dict[str, Any], str]]:
        start = reader.line_num + 1
        try:
            for row in reader:
                if len(row) not in (0, len(header)):
                    raise DataError(
                        f"{path} has {len(row)} fields in line {start} but {len(header)} in its "
                        "header; put texts that contain the separator in double quotes"
                    )
                if row:
                    yield dict(zip(header, row, strict=True)), f"line {start}"
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path} is broken in line {start}: {error}") from None

    chunks = _chunked(records(), rows, file)
    return Table(path, tuple(header), chunks, path.stat().st_size, path.parent)


def _json_lines(path: Path, rows: int) -> Table:
    file = path.open("rb")

    def records() -> Iterator[tuple[dict[str, Any], str]]:
        for number, line in enumerate(_decoded(path, file), start=1):
            if line.strip():
                yield _record(line, path, f"line {number}"), f"line {number}"

    all_records = records()
    first = next(all_records, None)
    if first is None:
        raise DataError(f"{path} has no rows")

    def again() -> Iterator[tuple[dict[str, Any], str]]:
        yield first
        yield from all_records

    chunks = _chunked(again(), rows, file)
    return Table(path, tuple(first[0]), chunks, path.stat().st_size, path.parent)


def _record(line: str, path: Path, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # what is deep or long is no syntax error
        reason = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise DataError(f"{path} is broken in {place}: {reason}") from None
    if not isinstance(record, dict):
        raise DataError(f"{path} is broken in {place}: wanted one JSON object a line")
    return record


def _decoded(path: Path, file: Any) -> Iterator[str]:
    """Yield the lines of a file of UTF-8, with their ends."""
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{path} is not UTF-8 in line {number}; save it as UTF-8") from None
        if "\0" in text:
            raise DataError(f"{path} has a byte of zero in line {number}; save it as UTF-8")
        yield text


def _chunked(
    records: Iterator[tuple[dict[str, Any], str]], rows: int, file: Any
) -> Iterator[Chunk]:
    kept: list[tuple[dict[str, Any], str]] = []
    with file:
        for record in records:
            kept.append(record)
            if len(kept) == rows:
                yield _chunk(kept, file)
                kept = []
        if kept:
            yield _chunk(kept, file)


def _chunk(kept: Sequence[tuple[dict[str, Any], str]], file: Any) -> Chunk:
    return Chunk([record for record, _ in kept], [place for _, place in kept], file.tell())


def _require_once(path: Path, columns: Sequence[str]) -> None:
    if not columns:
        raise DataError(f"{path} has no columns")
    for name in columns:
        if columns.count(name) > 1:
            raise DataError(f"{path} has more than one column {quoted(name)}; rename or remove one")


def column_of(table: Table, wanted: str, usual: Sequence[str] = ()) -> str:
    """Return the column that is wanted, or the first usual one that there is.

    Raises:
        DataError: there is none; the text lists those that there are.
    """
    for name in (wanted, *usual):
        if name in table.columns:
            return name
    raise DataError(f"{table.path} has no column {wanted}; it has: {listed(table.columns)}")


_OPEN = {".csv": _csv, ".tsv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
SUFFIXES = tuple(_OPEN)
