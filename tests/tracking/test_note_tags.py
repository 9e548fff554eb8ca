"""Notes on data stay whole in the tag that holds them, and in reports."""

import pytest

from adapterlab.reporting.reading.study import Run
from adapterlab.reporting.sentences.notes import _on_data
from adapterlab.tracking.note_tags import LONGEST, NOTES, notes_in, notes_tag

CUT = "1 of 20 repeat another one; 2 stand there with more than one label (“a”)"


@pytest.mark.parametrize("notes", [(), ("one",), (CUT, "[limited] to 4"), ('["a"]',)])
def test_they_are_read_as_they_were_written(notes: tuple[str, ...]) -> None:
    assert notes_in({NOTES: notes_tag(notes)}) == [*notes]


@pytest.mark.parametrize(
    ("tag", "notes"),
    [
        (None, []),
        ("", []),
        ("a; b", ["a", "b"]),
        ("[limited] to 4; b", ["[limited] to 4", "b"]),
        ("12", ["12"]),
        ("null", ["null"]),
        ('["cut off', ['["cut off']),
        ("[1, 2]", ["[1, 2]"]),
    ],
)
def test_those_of_before_are_read_too(tag: str | None, notes: list[str]) -> None:
    assert notes_in({} if tag is None else {NOTES: tag}) == notes


def test_what_does_not_go_into_a_tag_is_counted() -> None:
    notes = [f"{number}: {CUT * 10}" for number in range(20)]
    tag = notes_tag(notes)
    assert len(tag) <= LONGEST
    *kept, last = notes_in({NOTES: tag})
    assert kept == notes[: len(kept)]
    assert last == f"{len(notes) - len(kept)} more in the run's result.json"
    assert notes_in({NOTES: notes_tag(["x" * 9000])}) == ["1 in the run's result.json"]


def test_a_report_has_them_whole_and_those_of_before_beside_them() -> None:
    new = Run("1", "a", {NOTES: notes_tag([CUT, "small"])}, {}, {})
    old = Run("2", "b", {NOTES: "small; old"}, {}, {})
    assert _on_data({"a": [new], "b": [old]}) == ["small", f"a: {CUT}", "b: old"]
