"""The output file of predictions: rows of a table, with new columns, written as a stream."""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.base.files import writing
from adapterlab.data.sources.streamed import Chunk, Table

Columns = Mapping[str, Sequence[Any]]
"""What was predicted of some rows, by the name of the new column."""


class Writer(ABC):
    """Writes rows to a file, as they come.

    Args:
        file: to write to.
        table: whose rows they are.
    """

    def __init__(self, file: IO[bytes], table: Table) -> None:
        self.file, self.table = file, table

    def require_known(self, record: Mapping[str, Any], place: str) -> None:
        """Refuse a row with a column that the first one has not.

        Raises:
            DataError: it has one; the text names the row.
        """
        if strange := [name for name in record if name not in self.table.columns]:
            raise DataError(
                f"{self.table.path} has {strange[0]} in {place}, which its first row has not; "
                "output=....jsonl keeps it"
            )

    @abstractmethod
    def write(self, chunk: Chunk, new: Columns) -> None:
        """Write some rows with their new columns.

        Raises:
            DataError: the file cannot hold a value of the table.
        """

    @abstractmethod
    def close(self) -> None:
        """Write what ends the file, and leave it open to whoever opened it."""


class _Csv(Writer):
    """Commas, or tabs; what is no text is written as JSON, and what is missing as nothing.

    Several labels are a JSON list, which is read as labels again.
    """

    mark = ","

    def __init__(self, file: IO[bytes], table: Table) -> None:
        super().__init__(file, table)
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._rows: Any = csv.writer(self._text, delimiter=self.mark, lineterminator="\n")
        self._begun = False

    def write(self, chunk: Chunk, new: Columns) -> None:
        """Write some rows with their new columns."""
        columns = self.table.columns
        if not self._begun:
            self._rows.writerow([*columns, *new])
            self._begun = True
        for i, (record, place) in enumerate(zip(chunk.records, chunk.places, strict=True)):
            self.require_known(record, place)
            old = [_cell(record.get(name), self.table.path, name, place) for name in columns]
            self._rows.writerow([*old, *(_number(values[i]) for values in new.values())])

    def close(self) -> None:
        """Hand on what is left."""
        self._text.flush()
        self._text.detach()


class _Tsv(_Csv):
    mark = "\t"


class _JsonLines(Writer):
    """One JSON object a line; times are written as ISO 8601."""

    def write(self, chunk: Chunk, new: Columns) -> None:
        """Write some rows with their new columns."""
        for i, (record, place) in enumerate(zip(chunk.records, chunk.places, strict=True)):
            values = record | {name: column[i] for name, column in new.items()}
            try:
                line = json.dumps(values, ensure_ascii=False, default=_plain)
                content = line.encode()
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"{self.table.path} {place} cannot be written as JSON ({error}); "
                    "output=....parquet keeps all"
                ) from None
            self.file.write(content + b"\n")

    def close(self) -> None:
        """Do nothing: a line is complete."""


class _Parquet(Writer):
    """Columns keep their types; of files without types, those of the first rows."""

    def __init__(self, file: IO[bytes], table: Table) -> None:
        super().__init__(file, table)
        self._writer: Any = None

    def write(self, chunk: Chunk, new: Columns) -> None:
        """Write some rows with their new columns."""
        old = chunk.table if chunk.table is not None else self._typed(chunk)
        arrays = [*old.columns, *map(_array, new.values())]
        added = [pa.field(name, a.type) for name, a in zip(new, arrays[-len(new) :], strict=True)]
        schema = pa.schema([*old.schema, *added], metadata=old.schema.metadata)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.file, schema)
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._writer.schema))

    def _typed(self, chunk: Chunk) -> Any:
        columns = self.table.columns
        for record, place in zip(chunk.records, chunk.places, strict=True):
            self.require_known(record, place)
        known = None
        if self._writer is not None:
            known = pa.schema([self._writer.schema.field(name) for name in columns])
        try:
            rows = {name: [record.get(name) for record in chunk.records] for name in columns}
            return pa.RecordBatch.from_pydict(rows, schema=known)
        except (pa.ArrowException, TypeError) as error:
            raise DataError(
                f"{self.table.path} has values of several types in a column, after "
                f"{chunk.places[0]} ({error}); output=....jsonl keeps them"
            ) from None

    def close(self) -> None:
        """Write the footer, without which it is no parquet file."""
        if self._writer is not None:
            self._writer.close()


_WRITERS: dict[str, type[Writer]] = {
    ".csv": _Csv,
    ".tsv": _Tsv,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}


def require_writable(output: Path, table: Table, overwrite: bool) -> None:
    """Refuse a place that cannot take what is predicted, before any of it is.

    Raises:
        ConfigError: its suffix is unknown, it is taken, or has no folder, or the file cannot hold
            the columns of the table.
    """
    if output.suffix.lower() not in _WRITERS:
        raise ConfigError(f"output={output} should end in {', '.join(_WRITERS)}")
    if output.is_dir():
        raise ConfigError(f"output={output} is a folder; name a file")
    if not output.parent.is_dir():
        raise ConfigError(f"output={output}: there is no folder {output.parent}")
    if output.exists() and table.path.exists() and output.samefile(table.path):
        raise ConfigError(f"output={output} is the input; name another file")
    if output.exists() and not overwrite:
        raise ConfigError(f"output={output} exists; name another file, or overwrite=true")
    binary = [name for name, kind in _types(table) if _holds_bytes(kind)]
    if binary and output.suffix.lower() != ".parquet":
        raise ConfigError(
            f"output={output} cannot hold the bytes in column {binary[0]}; name a .parquet file"
        )


@contextmanager
def opened(output: Path, table: Table) -> Iterator[Writer]:
    """Yield what writes a table's rows; the file is there when all are, or not at all."""
    with writing(output) as file:
        writer = _WRITERS[output.suffix.lower()](file, table)
        try:
            yield writer
        finally:
            writer.close()


def _types(table: Table) -> list[tuple[str, Any]]:
    return [] if table.schema is None else [(field.name, field.type) for field in table.schema]


def _holds_bytes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _cell(value: Any, path: Path, name: str, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain).strip('"')
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path} has a {name} in {place} that cannot be written as text ({error}); "
            "output=....parquet keeps it"
        ) from None


def _number(value: Any) -> str:
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return value if isinstance(value, str) else repr(value)


def _array(values: Sequence[Any]) -> Any:
    """Return a new column; one of lists is of texts, also where all of its first ones are empty."""
    several = bool(values) and isinstance(values[0], list)
    return pa.array(values, pa.list_(pa.string()) if several else None)


def _plain(value: Any) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if type(value).__name__ in ("Decimal", "UUID", "timedelta", "Timedelta"):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
