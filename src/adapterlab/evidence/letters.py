"""Letters for arms: those that share one are not told apart."""

from collections.abc import Sequence


def letters(count: int, different: Sequence[tuple[int, int]]) -> list[str]:
    """Give letters to arms so that two share one exactly if they are not told apart.

    The insert-and-absorb algorithm of Piepho, 2004, "An algorithm for a letter-based
    representation of all-pairwise comparisons" (J. Computational and Graphical Statistics 13).

    Args:
        count: of the arms, in the order in which letters are handed out: best first.
        different: pairs of arms that differ, by their places.

    Returns:
        One string an arm, such as ``"ab"``; never empty. Of more than 26 letters, those after z
        are ``A`` to ``Z``, and then numbers in brackets.

    Raises:
        ValueError: a pair of places that are equal or none of an arm's.
    """
    columns = [frozenset(range(count))] if count else []
    for i, j in different:
        if i == j or not (0 <= i < count and 0 <= j < count):
            raise ValueError(f"({i}, {j}) is no pair of {count} arms")
        both = [column for column in columns if {i, j} <= column]
        columns = [column for column in columns if column not in both]
        for column in both:
            columns += [column - {i}, column - {j}]
        columns = _absorbed(columns)
    # A letter may be superfluous although no other column holds its own: all of its pairs do.
    kept = sorted(columns, key=lambda column: sorted(column))
    for column in sorted(kept, key=len):
        rest = [other for other in kept if other != column]
        if all(any({a, b} <= other for other in rest) for a in column for b in column):
            kept = rest
    return ["".join(_letter(n) for n, c in enumerate(kept) if arm in c) for arm in range(count)]


def _absorbed(columns: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Drop the columns that lie within another."""
    unique = list(dict.fromkeys(columns))
    return [column for column in unique if not any(column < other for other in unique)]


def _letter(number: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return alphabet[number] if number < len(alphabet) else f"({number + 1})"
