"""The tag that holds what a reader of a run's figures must know of its data: a list of notes."""

import json
from collections.abc import Mapping, Sequence

NOTES = "data_notes"
"""The tag's name."""

LONGEST = 5000
"""Characters of the tag at most: MLflow's servers, the oldest too, take as many, and cut the rest
of a text off. A list that is cut could not be read."""


def notes_tag(notes: Sequence[str]) -> str:
    """Return notes as the tag's value, a JSON list; empty if there are none.

    Where all do not go into a tag, the last of them are left out, and counted.
    """
    kept = list(notes)
    while kept:
        more = len(notes) - len(kept)
        rest = [f"{more} more in the run's result.json"] if more else []
        text = json.dumps([*kept, *rest], ensure_ascii=False)
        if len(text) <= LONGEST:
            return text
        kept.pop()
    return json.dumps([f"{len(notes)} in the run's result.json"]) if notes else ""


def notes_in(tags: Mapping[str, str]) -> list[str]:
    """Return the notes in a run's tags; of before they were a list, those joined by semicolons."""
    text = tags.get(NOTES, "")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, list) and all(isinstance(note, str) for note in found):
        return [note for note in found if note]
    return [note for note in text.split("; ") if note]
