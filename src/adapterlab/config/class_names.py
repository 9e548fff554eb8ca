"""Which names classes may have, and which of them a reader would take for the same.

It loads no torch: names in a configuration are checked before anything else is.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations

_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
"""Unicode's property Default_Ignorable_Code_Point: characters that are not drawn."""

_NO_LABEL = {"nan", "null", "n/a", "<na>", "#n/a", "nat"}
"""What programs write for a label that is missing."""


def seen(text: str) -> str:
    """What a reader sees of a text: composed, one space for all white space, nothing undrawn."""
    if not text.isascii():
        text = _UNSEEN.sub("", unicodedata.normalize("NFC", text))
    return " ".join(text.split())


def folded(text: str) -> str:
    """A text but for case, white space and Unicode's compatible forms (NFKC, case folding)."""
    if text.isascii():
        return " ".join(text.lower().split())
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_UNSEEN.sub("", unicodedata.normalize("NFKC", text)).split())


def quoted(name: str, most: int = 40) -> str:
    """A name in a sentence: in quotes, with escapes, and short even where it is a whole text."""
    shown = ascii(name) if seen(name) != name else repr(name)
    return shown if len(shown) <= most else f"{shown[: most - 4]}...{shown[-1]}"


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names in a sentence, the first of them where there are many."""
    every = [name if seen(name) == name and len(name) <= 40 else quoted(name) for name in names]
    more = f", ... ({len(every):,} in all)" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def complaint(names: Sequence[str]) -> str | None:
    """What makes names impossible to tell apart, in words; None if nothing does."""
    for number, name in enumerate(names, start=1):
        if not seen(name):
            return f"number {number} of them is {quoted(name)}"
    if (broken := of_two_lines(names)) is not None:
        return f"{quoted(broken)} has a line break"
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            return f"{quoted(name)} is there {names.count(name)} times"
    if pair := same_to_a_reader(names):
        return f"{quoted(pair[0])} and {quoted(pair[1])} differ by {difference(*pair)} only"
    return None


def of_two_lines(names: Iterable[str]) -> str | None:
    """The first name with a line break, if there is one: files of runs have a name a line."""
    return next((name for name in names if "\n" in name or "\r" in name), None)


def same_to_a_reader(names: Sequence[str]) -> tuple[str, str] | None:
    """Two names that look the same: nobody means them to be two."""
    return next(iter(_pairs(names, seen)), None)


def easily_confused(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs that differ by case, Unicode form or how a number is written; they may be meant."""

    def key(name: str) -> Hashable:
        number = _number(name)
        return folded(name) if number is None else number

    return _pairs(names, key)


def difference(first: str, second: str) -> str:
    """By what two names differ that are the same to a reader."""
    if "".join(first.split()) == "".join(second.split()):
        return "white space"
    if _UNSEEN.sub("", first) == _UNSEEN.sub("", second):
        return "characters that are not drawn"
    return "white space or Unicode form"


def stands_for_no_label(name: str) -> bool:
    """Whether programs write this where a label is missing."""
    return folded(name) in _NO_LABEL


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if number == number else None  # not a number equals nothing, not even itself


def _pairs(names: Sequence[str], key: Callable[[str], Hashable]) -> list[tuple[str, str]]:
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return [pair for group in groups.values() for pair in combinations(group, 2)]
