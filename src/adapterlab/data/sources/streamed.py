"""Rows of a file, or images of a folder, a few at a time: what is to be predicted.

A file may be larger than the memory. All of its columns are kept, for what is predicted goes beside
them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import quoted
from adapterlab.data.sources.delimited import dialect_of, require_width
from adapterlab.data.sources.delimited import rows as rows_of
from adapterlab.data.sources.encodings import encoding_of
from adapterlab.data.sources.image_listing import SUFFIXES as IMAGES
from adapterlab.data.sources.layout import visible
from adapterlab.data.sources.notes import Note, noted
from adapterlab.data.sources.tables import AS_FOUND, Written
from adapterlab.data.sources.tables import records as records_of

_Record = tuple[dict[str, Any], str, int]
"""A row, what to call it, and about how many characters it has."""

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
        notes: how the file was read.
    """

    path: Path
    columns: tuple[str, ...]
    chunks: Iterator[Chunk]
    total: int
    home: Path
    schema: Any = None
    of_images: bool = False
    notes: tuple[Note, ...] = ()


def open_table(path: Path, rows: int, written: Written = AS_FOUND) -> Table:
    """Open a file of rows, or a folder of images.

    Args:
        path: a file whose suffix is in :data:`SUFFIXES`, one image, or a folder of images, which
            may have folders in it. Hidden files are passed over.
        rows: of a chunk, at most.
        written: how a file of text is written, where that is not to be found.

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
        return _OPEN[suffix](path, rows, written)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield images in a folder and in what is in it; the folders that it is in come as `above`."""
    real = folder.resolve()
    if real in above:
        raise DataError(f"{folder} is a link to {real}, which it is in; remove it")
    for entry in visible(folder):
        if entry.is_dir():
            yield from _files_below(entry, (*above, real))
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


def _parquet(path: Path, rows: int, written: Written) -> Table:
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


def _csv(path: Path, rows: int, written: Written) -> Table:
    encoding = encoding_of(path, written.encoding)
    dialect = dialect_of(path, encoding.name, written.delimiter)
    read = rows_of(path, encoding.name, dialect)
    _, first = next(read, (1, []))
    header = tuple(name.strip() for name in first)
    _require_once(path, header)

    def records() -> Iterator[_Record]:
        for line, row in read:
            require_width(path, line, row, len(header), dialect.mark)
            size = sum(map(len, row)) + len(row)
            yield dict(zip(header, row, strict=True)), f"line {line}", size

    total = path.stat().st_size
    notes = noted(path.name, encoding.note, *dialect.notes(path))
    return Table(path, header, _chunked(records(), rows, total), total, path.parent, notes=notes)


def _json(path: Path, rows: int, written: Written) -> Table:
    encoding = encoding_of(path, written.encoding)
    read = records_of(path, encoding.name)
    begun = next(read, None)
    if begun is None:
        raise DataError(f"{path} has no rows")

    def records() -> Iterator[_Record]:
        for form, number, record in chain([begun], read):
            size = sum(len(str(value)) + len(name) for name, value in record.items())
            yield record, form.format(number), size

    total = path.stat().st_size
    notes, columns = noted(path.name, encoding.note), tuple(begun[2])
    return Table(path, columns, _chunked(records(), rows, total), total, path.parent, notes=notes)


def _chunked(records: Iterator[_Record], rows: int, total: int) -> Iterator[Chunk]:
    """Yield chunks of rows; how far they are is told from what is in them."""
    done = 0
    while kept := list(islice(records, rows)):
        done = min(total, done + sum(size for _, _, size in kept))
        yield Chunk([record for record, _, _ in kept], [place for _, place, _ in kept], done)


def _require_once(path: Path, columns: Sequence[str]) -> None:
    if not columns:
        raise DataError(f"{path} has no columns")
    for name in columns:
        if columns.count(name) > 1:
            raise DataError(f"{path} has more than one column {quoted(name)}; rename or remove one")


_OPEN: dict[str, Callable[[Path, int, Written], Table]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".tab": _csv,
    ".jsonl": _json,
    ".ndjson": _json,
    ".json": _json,
    ".parquet": _parquet,
}
SUFFIXES = tuple(_OPEN)
