"""Texts that are files: a folder of them for each class, or one with the labels in a file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from adapterlab.base.errors import DataError
from adapterlab.data.sources.encodings import encoding_of
from adapterlab.data.sources.layout import visible
from adapterlab.data.sources.notes import noted
from adapterlab.data.sources.tables import Written
from adapterlab.data.sources.text_tables import TextTable

SUFFIXES = (".txt", ".text", ".md", "")
"""Of files that are one text each."""


def class_folder_table(folder: Path, classes: Sequence[str], written: Written) -> TextTable:
    """Read ``<folder>/<class>/*.txt``, a text each.

    Raises:
        DataError: a class has no texts, or a file is empty or unreadable.
    """
    files = [(file, name) for name in classes for file in text_files_in(folder / name)]
    return _table(folder, [file for file, _ in files], [name for _, name in files], written)


def folder_table(folder: Path, written: Written, but: Path) -> TextTable:
    """Read ``<folder>/*.txt``, a text each, without labels, passing over one file."""
    return _table(folder, text_files_in(folder, but), [], written)


def text_files_in(folder: Path, but: Path | None = None) -> list[Path]:
    """The files of a folder that are texts, passing over one that is not.

    Raises:
        DataError: there is none, or a file is something else.
    """
    files = [entry for entry in visible(folder) if entry.is_file() and entry != but]
    if not files:
        raise DataError(f"{folder} has no texts; add some, or remove the class")
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            raise DataError(f"{file} is no text; allowed in {folder}: *.txt")
    return files


def _table(
    folder: Path, files: Sequence[Path], labels: Sequence[str], written: Written
) -> TextTable:
    encodings: dict[str, int] = {}
    texts = []
    for file, text, encoding in _read(files, written):
        if not text.strip():
            raise DataError(f"{file} is empty; fill or remove it")
        texts.append(text)
        encodings[encoding] = encodings.get(encoding, 0) + 1
    others = {name: count for name, count in encodings.items() if not name.startswith("utf-8")}
    notes = [
        f"{count:,} of {len(files):,} texts are read as {name}"
        for name, count in others.items()
        if written.encoding is None
    ]
    return TextTable(
        folder,
        texts,
        labels,
        [file.relative_to(folder).as_posix() for file in files],
        integers=False,
        names=tuple(dict.fromkeys(labels)) or None,
        notes=noted(folder.name, *notes),
    )


def _read(files: Sequence[Path], written: Written) -> Iterator[tuple[Path, str, str]]:
    for file in files:
        encoding = encoding_of(file, written.encoding).name
        yield file, file.read_text(encoding=encoding), encoding
