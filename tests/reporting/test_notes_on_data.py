"""What runs say of their data stands in a report once."""

from dataclasses import dataclass, field

import pytest

from adapterlab.reporting.notes import _on_data


@dataclass
class Told:
    """A run, as far as its notes go."""

    notes: str
    tags: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.tags = {"data_notes": self.notes} if self.notes else {}


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([], []),
        (["", ""], []),
        (["a; b", "a; b"], ["a; b"]),
        (["a; b", "a; b; c"], ["a; b", "c"]),
        (["a; b; d", "a; c; d", "a; d"], ["a; d", "b", "c"]),
        (["a", "b"], ["a", "b"]),
        (["a; b", ""], ["a; b"]),
    ],
)
def test_what_all_say_stands_once(notes: list[str], expected: list[str]) -> None:
    assert _on_data([Told(note) for note in notes]) == expected  # type: ignore[misc]
