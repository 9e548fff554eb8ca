"""Cells of a file for spreadsheets, which run what looks like a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from adapterlab.base.files import write_text

_RUN = "=+\\-@\uff1d\uff0b\uff0d\uff20"
"""What a formula begins with, and their full-width forms; see OWASP on CSV injection."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:inf|nan)"

_ENDS = r";\t\r\n"
"""What may end a cell beside the comma: a spreadsheet set to another list sign splits there."""

_BLANKS = ' \u00a0\u200b\ufeff"' + "".join(map(chr, range(32)))
_BLANK = f"[{re.escape(_BLANKS)}]*"

_FIRST = re.compile(rf"(?=[\t\r\n]|{_BLANK}[{_RUN}])(?!(?:{_NUMBER})$)", re.IGNORECASE)
_LATER = re.compile(
    rf"(?<=[{_ENDS}])(?={_BLANK}[{_RUN}])(?!(?:{_NUMBER})(?:[{_ENDS}]|$))", re.IGNORECASE
)


def as_cell(value: object) -> object:
    """Return a value with a quote before each text that a spreadsheet would run; numbers stay."""
    if not isinstance(value, str):
        return value
    text = _LATER.sub("'", value)
    return f"'{text}" if _FIRST.match(text) else text


def write_rows(rows: Iterable[Sequence[object]], path: Path) -> None:
    """Write rows, the header among them, as CSV.

    Raises:
        OSError: the file cannot be written.
    """
    # The csv module ends lines itself: a translated "\n" would change the texts' own.
    text = io.StringIO(newline="")
    csv.writer(text).writerows([as_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue())
