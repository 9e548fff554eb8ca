"""Images in parquet files, as data sets lie on the Hugging Face hub."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import listed, quoted
from adapterlab.data.origin import Origin
from adapterlab.data.sources.cache import cached, fingerprint
from adapterlab.data.sources.columns import Columns, Found, find
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.decode import SAID, Encoded, Lost, background_of, decode
from adapterlab.data.sources.notes import noted, said
from adapterlab.data.sources.unread_files import require_kind, unread
from adapterlab.data.splits import ImageSplit, ImageSplits

_Label = int | str


class _Table(NamedTuple):
    """The two columns of one file, and the class names if the file states them."""

    path: Path
    images: Any  # pyarrow.ChunkedArray of binary
    labels: list[_Label]
    names: tuple[str, ...] | None


def image_parquet(
    context: LoadContext,
    path: str | Path,
    image_column: str | None = None,
    label_column: str | None = None,
    classes: Sequence[str] | None = None,
    *,
    background: str | Sequence[int] | None = None,
) -> ImageSplits:
    """Read ``<path>/{train,test[,validation]}.parquet``.

    Images are encoded (PNG, JPEG, ...), in structs of bytes and path or as plain bytes. Labels are
    class indices, or any integers or strings. Class names are those of the file's ClassLabel
    feature; else ``classes``; else the sorted distinct labels of the training split. The decoded
    images are cached until a file changes.

    Args:
        context: where to look for a relative path, the cache, and the shape.
        path: the folder with the files.
        image_column: name of the column of images; None finds it by its name, and says so.
        label_column: name of the column of labels; likewise.
        classes: class names for files that do not state them, in the order of the indices.
        background: what transparent images are put on, as of
            :func:`~adapterlab.data.sources.image_folder.image_folder`.

    Raises:
        DataError: a file, column, image or label is missing or damaged, a label names no class, or
            sizes differ where no shape is known. The text names file and row.
        ConfigError: the background is no colour.
    """
    folder = context.folder(path)
    files = {name: folder / f"{name}.parquet" for name in ("train", "test", "validation")}
    there = {name: file for name, file in files.items() if require_kind(file, "file")}
    notes = unread(folder, there, ".parquet")
    if "validation" not in there:
        del files["validation"]
    for name, file in files.items():
        if name not in there:
            raise DataError(f"{file} is missing; wanted: {folder}/{{train,test}}.parquet")

    colour = background_of(background)
    found = _columns(files["train"], image_column, label_column)
    columns = found.names["image"], found.names["label"]
    notes += said(noted(", ".join(file.name for file in files.values()), found.note()))

    def build() -> ImageSplits:
        # `datasets` copies each file to Arrow; the copy goes when the images are decoded.
        with tempfile.TemporaryDirectory(prefix=".parquet-", dir=context.cache) as scratch:
            tables = {name: _read(file, *columns, Path(scratch)) for name, file in files.items()}
            return _splits(tables, classes, context, Lost(colour), title=folder.name)

    key: list[object] = [
        "image_parquet",
        SAID,
        fingerprint(files.values()),
        columns,
        classes,
        context.shape,
    ]
    if colour or context.of_model:
        key.append(["on", colour, context.of_model])
    splits = cached(context.cache, folder.name, key, build)
    origins = {name: Origin(file, columns=columns[:1]) for name, file in files.items()}
    return replace(splits, origins=origins).with_notes(*notes)


def _columns(path: Path, image_column: str | None, label_column: str | None) -> Found:
    wanted = Columns(image_column, label_column)
    return find(path, _existing(path), wanted, content="image", labels=True)


def _existing(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a parquet file, or damaged: {error}") from error


def _read(path: Path, image_column: str, label_column: str, scratch: Path) -> _Table:
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a parquet file, or damaged: {error}") from error
    existing = metadata.schema.to_arrow_schema().names
    for column in (image_column, label_column):
        if column not in existing:
            raise DataError(f"{path} has no column {column}; it has: {', '.join(existing)}")
    if not metadata.num_rows:
        raise DataError(f"{path} has no rows")
    try:
        with _quiet_datasets():
            dataset = datasets.Dataset.from_parquet(
                str(path), columns=[image_column, label_column], cache_dir=str(scratch)
            )
    except (datasets.exceptions.DatasetGenerationError, pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error.__cause__ or error}") from error

    feature = dataset.features[label_column]
    names = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    table = dataset.with_format("arrow")[:]
    return _Table(
        path,
        images=_image_bytes(table[image_column], path, image_column),
        labels=_labels(table[label_column], path, label_column),
        names=names,
    )


@contextmanager
def _quiet_datasets() -> Iterator[None]:
    """No progress bars and no log lines of `datasets`: ours say what happens."""
    bars, verbosity = datasets.is_progress_bar_enabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()


def _image_bytes(column: Any, path: Path, name: str) -> Any:
    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise DataError(
            f"{path} has {kind} in column {name}; allowed: encoded images as bytes, or as a struct "
            "with bytes"
        )
    _no_nulls(column, path, name)
    return column


def _labels(column: Any, path: Path, name: str) -> list[_Label]:
    kind = column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_integer(kind)):
        raise DataError(f"{path} has {kind} in column {name}; allowed: integers or strings")
    _no_nulls(column, path, name)
    try:
        labels: list[_Label] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} has a label in column {name} that is not UTF-8") from error
    return labels


def _no_nulls(column: Any, path: Path, name: str) -> None:
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise DataError(f"{path} has no {name} in row {row} (counted from 0); fill or remove it")


def _splits(
    tables: Mapping[str, _Table],
    classes: Sequence[str] | None,
    context: LoadContext,
    lost: Lost,
    title: str,
) -> ImageSplits:
    names, index = _classes(tables["train"], classes)
    labels = {name: _indices(table, index) for name, table in tables.items()}
    encoded = [_encoded(table) for table in tables.values()]
    images = decode(encoded, context.shape, title, lost, context.of_model)
    splits = {
        name: ImageSplit(tensor, labels[name]) for name, tensor in zip(tables, images, strict=True)
    }
    return ImageSplits(
        train=splits["train"],
        test=splits["test"],
        validation=splits.get("validation"),
        classes=names,
        notes=lost.notes(),
    )


def _classes(
    train: _Table, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[_Label, int]]:
    """The class names, and the class index of each label that may occur."""
    names = train.names or tuple(classes or ())
    if not names:
        distinct: list[_Label] = sorted(set(train.labels))
        return tuple(map(str, distinct)), {label: i for i, label in enumerate(distinct)}
    if isinstance(train.labels[0], str):
        return names, {name: i for i, name in enumerate(names)}
    return names, {i: i for i in range(len(names))}


def _indices(table: _Table, index: Mapping[_Label, int]) -> torch.Tensor:
    for row, label in enumerate(table.labels):
        if label not in index:
            shown = quoted(label) if isinstance(label, str) else label
            raise DataError(
                f"{table.path} has label {shown} in row {row} (counted from 0); "
                f"allowed: {listed(map(str, index))}"
            )
    return torch.tensor([index[label] for label in table.labels])


def _encoded(table: _Table) -> Encoded:
    return Encoded(
        count=len(table.labels),
        read=lambda row: table.images[row].as_py(),
        name=lambda row: f"{table.path} row {row} (counted from 0)",
    )
