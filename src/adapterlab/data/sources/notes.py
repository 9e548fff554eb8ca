"""What there is to say of the files of a data set: each thing once, with its files."""

from collections.abc import Iterable

Note = tuple[str, str]
"""The name of a file, and what is to be said of it."""


def noted(name: str, *what: str | None) -> tuple[Note, ...]:
    """Return notes on one file; None says nothing."""
    return tuple((name, one) for one in what if one)


def said(notes: Iterable[Note]) -> tuple[str, ...]:
    """Return notes as sentences: ``train.csv, test.csv: columns are between semicolons``."""
    files: dict[str, list[str]] = {}
    for name, what in notes:
        files.setdefault(what, [])
        if name not in files[what]:
            files[what].append(name)
    return tuple(f"{', '.join(names)}: {what}" for what, names in files.items())
