"""Cells of a file for spreadsheets, which run what looks like a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from adapterlab.files import write_text

_RUN = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell begins with that a spreadsheet may run; see OWASP on CSV injection."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)


def as_cell(value: object) -> object:
    """Return a value with a quote before a text that a spreadsheet would run; numbers stay."""
    if isinstance(value, str) and value.startswith(_RUN) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def write_rows(rows: Iterable[Sequence[object]], path: Path) -> None:
    """Write rows, the header among them, as CSV.

    Raises:
        OSError: the file cannot be written.
    """
    # The csv module ends lines itself: a translated "\n" would change the texts' own.
    text = io.StringIO(newline="")
    csv.writer(text).writerows([as_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue())
