"""Where the rows of a split come from, in words: file and row, as its reader finds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RowNames:
    """By what a user finds rows again.

    Args:
        numbers: of each row in its file, counted from 0 without a header.
        ids: what the file calls it; None if it has no column for that.
        files: the name of its file, where each row is one; else None.
    """

    numbers: Sequence[int]
    ids: Sequence[str] | None = None
    files: Sequence[str] | None = None

    def columns(self) -> dict[str, Sequence[int] | Sequence[str]]:
        """Return what there is by its name in a table: ``row``, ``id`` and ``file``."""
        columns = {"row": self.numbers, "id": self.ids, "file": self.files}
        return {name: values for name, values in columns.items() if values is not None}


@dataclass(frozen=True)
class Origin:
    """Names the rows of one split.

    Args:
        home: the file of all rows, or the folder of their files.
        rows: what to call each row: ``line 3`` of a file, ``cat/0.png`` of a folder; None counts
            them from 0.
        numbers: each row's number in the file, counted from 0 without its header; None where the
            split is the whole file, in its order.
        ids: what the file itself calls each row; None if it has no column for that.
        columns: of the texts or images, two of pairs; none where the file has no columns, or that
            is not known.
    """

    home: Path
    rows: Sequence[str] | None = None
    numbers: Sequence[int] | None = None
    ids: Sequence[str] | None = None
    columns: tuple[str, ...] = ()

    def part(self, rows: Sequence[int]) -> "Origin":
        """The origin of some rows, in that order."""
        return Origin(
            self.home,
            None if self.rows is None else [self.rows[row] for row in rows],
            [self.number(row) for row in rows],
            None if self.ids is None else [self.ids[row] for row in rows],
            self.columns,
        )

    def number(self, row: int) -> int:
        """The number of a row in its file, counted from 0."""
        return row if self.numbers is None else self.numbers[row]

    def called(self, rows: Sequence[int]) -> "RowNames":
        """What the file calls some rows."""
        part = self.part(rows)
        assert part.numbers is not None
        files = part.rows if self.home.is_dir() else None
        return RowNames(
            tuple(part.numbers),
            None if part.ids is None else tuple(part.ids),
            None if files is None else tuple(f"{self.home.name}/{file}" for file in files),
        )

    def of(self, row: int) -> str:
        """The whole path of a row's file, and the row in it."""
        return self._joined(str(self.home), row)

    def brief(self, row: int) -> str:
        """The same without the folders that all splits share."""
        return self._joined(self.home.name, row)

    def _joined(self, home: str, row: int) -> str:
        if self.rows is None:
            return f"{home} row {self.number(row)} (counted from 0)"
        return f"{home}{'/' if self.home.is_dir() else ' '}{self.rows[row]}"
