"""A user's own texts: a parquet, CSV or JSON-lines file for each split."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import folded, listed, quoted
from adapterlab.data.origin import Origin
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.strays import require_kind, unread
from adapterlab.data.sources.text_tables import SUFFIXES, TextTable, read_text_table
from adapterlab.data.splits import TextSplit, TextSplits

WANTED = "{" + ",".join(suffix[1:] for suffix in SUFFIXES) + "}"


def text_files(
    context: LoadContext,
    path: str | Path,
    text_column: str = "text",
    label_column: str = "label",
    classes: Sequence[str] | None = None,
) -> TextSplits:
    """Read ``<path>/{train,test[,validation]}.{parquet,csv,jsonl}``.

    Labels are class indices, or any integers or strings. Class names are those of the file's
    ClassLabel feature; else ``classes``; else the sorted distinct labels of the training split.
    With names, integers are indices and strings are names; in CSV, where all is text, labels are
    names if any of them is one.

    Args:
        context: where to look for a relative path.
        path: the folder with the files.
        text_column: name of the column of texts.
        label_column: name of the column of labels.
        classes: class names for files that do not state them, in the order of the indices.

    Raises:
        DataError: a file or column is missing, a file is broken, a text or label is missing, a
            label names no class, or a file of a split has a name that is not read, such as
            ``dev.csv``. The text names file and row.
    """
    folder = context.folder(path)
    files = {name: find_file(folder, name) for name in ("train", "test", "validation")}
    present = {name: file for name, file in files.items() if file is not None}
    notes = unread(folder, present, f".{WANTED}")
    for name in ("train", "test"):
        if files[name] is None:
            raise DataError(
                f"{folder}/{name}.{WANTED} is missing; wanted: {folder}/{{train,test}}.{WANTED}; "
                f"there is: {listed(sorted(path.name for path in folder.iterdir())) or 'nothing'}"
            )
    return read_text_splits(present, text_column, label_column, classes).with_notes(*notes)


def find_file(folder: Path, name: str) -> Path | None:
    """The file of a split, in whichever format.

    Raises:
        DataError: there are several, or what has its name is no file.
    """
    named = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    found = [file for file in named if require_kind(file, "file")]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise DataError(f"{folder} has {names}; which of them is the {name} split? keep one")
    return found[0] if found else None


def read_text_splits(
    files: Mapping[str, Path], text_column: str, label_column: str, classes: Sequence[str] | None
) -> TextSplits:
    """Read the files of a data set; see :func:`text_files`.

    Args:
        files: the file of each split: train, test and perhaps validation.
        text_column: name of the column of texts.
        label_column: name of the column of labels.
        classes: class names for files that do not state them.

    Raises:
        DataError: as :func:`text_files`.
    """
    tables = {
        name: read_text_table(file, text_column, label_column) for name, file in files.items()
    }
    names, index = _classes(tables["train"], classes)
    splits = {
        name: TextSplit(tuple(table.texts), _indices(table, index))
        for name, table in tables.items()
    }
    return TextSplits(
        train=splits["train"],
        test=splits["test"],
        validation=splits.get("validation"),
        classes=names,
        origins={name: Origin(table.path, table.places) for name, table in tables.items()},
    )


def _classes(
    train: TextTable, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The class names, and the class index of each label that may occur, as written."""
    names = train.names or tuple(classes or ())
    if not names:
        distinct = set(train.labels)
        numeric = all(label.removeprefix("-").isdecimal() for label in distinct)
        names = tuple(sorted(distinct, key=int) if numeric else sorted(distinct))
        by_name = True
    elif train.integers is None:
        by_name = not set(names).isdisjoint(train.labels)
    else:
        by_name = not train.integers
    return names, {name if by_name else str(i): i for i, name in enumerate(names)}


def _indices(table: TextTable, index: Mapping[str, int]) -> torch.Tensor:
    for label, place in zip(table.labels, table.places, strict=True):
        if label not in index:
            near = next((name for name in index if folded(name) == folded(label)), None)
            hint = f" (did you mean {quoted(near)}?)" if near else ""
            raise DataError(
                f"{table.path} has label {quoted(label)} in {place}; allowed: {listed(index)}{hint}"
            )
    return torch.tensor([index[label] for label in table.labels])
