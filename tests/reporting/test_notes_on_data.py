"""What runs say of their data stands in a report once, with the runs that say it."""

from dataclasses import dataclass, field

import pytest

from adapterlab.reporting.sentences.notes import _on_data


@dataclass
class Told:
    """A run, as far as its notes go."""

    notes: str
    tags: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.tags = {"data_notes": self.notes} if self.notes else {}


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ({}, []),
        ({"x": ["", ""]}, []),
        ({"x": ["a; b", "a; b"]}, ["a", "b"]),
        ({"x": ["a; b"], "y": ["a; b; c; d"]}, ["a", "b", "y: c; d"]),
        (
            {"x": ["a; b; d", "a; c; d"], "y": ["a; d"]},
            ["a", "d", "in 1 of 3 runs: b", "in 1 of 3 runs: c"],
        ),
        ({"x": ["a"], "y": ["b"]}, ["x: a", "y: b"]),
        ({"x": ["a; b"], "y": [""]}, ["x: a; b"]),
        ({"x": ["c", "c"], "y": ["c", ""], "z": ["c"]}, ["in 4 of 5 runs: c"]),
        ({"x": ["c"], "y": ["c"], "z": ["c"], "w": [""]}, ["x, y and z: c"]),
        ({"x": ["c"], "y": ["c"], "z": ["c"], "v": ["c"], "w": [""]}, ["in 4 of 5 runs: c"]),
    ],
)
def test_what_all_say_stands_once_and_the_rest_with_whom_it_is_of(
    arms: dict[str, list[str]], expected: list[str]
) -> None:
    runs = {name: [Told(note) for note in notes] for name, notes in arms.items()}
    assert _on_data(runs) == expected  # type: ignore[arg-type]
