"""Where the rows of a split come from, in words: file and row, as its reader finds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """Names the rows of one split.

    Args:
        home: the file of all rows, or the folder of their files.
        rows: what to call each row: ``line 3`` of a file, ``cat/0.png`` of a folder; None counts
            them from 0.
    """

    home: Path
    rows: Sequence[str] | None = None

    def of(self, row: int) -> str:
        """The whole path of a row's file, and the row in it."""
        return self._joined(str(self.home), row)

    def brief(self, row: int) -> str:
        """The same without the folders that all splits share."""
        return self._joined(self.home.name, row)

    def _joined(self, home: str, row: int) -> str:
        if self.rows is None:
            return f"{home} row {row} (counted from 0)"
        return f"{home}{'/' if self.home.is_dir() else ' '}{self.rows[row]}"
