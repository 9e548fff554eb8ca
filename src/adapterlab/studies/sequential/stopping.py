"""What follows from a look: which arms are out, and whether there is anything left to find."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.family import all_pairs
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.spread import Spread


@dataclass(frozen=True)
class Pair:
    """Two arms, compared within a family; differences are a - b, in the unit of the scores.

    Attributes:
        a: name of an arm.
        b: name of the other.
        difference: of their means.
        low: lower end of its simultaneous interval.
        high: upper end.
        p_adjusted: in the family.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    p_adjusted: float


FamilyTest = Callable[[Sequence[Replicates], float], Sequence[Pair]]
"""Compares all pairs of arms; takes the arms and a family-wise level."""


def compared(arms: Sequence[Replicates], level: float) -> list[Pair]:
    """Compare all pairs of arms as a report does, by `evidence.family.all_pairs`."""
    if len(arms) < 2:
        return []
    found = all_pairs(Spread.of(arms), level=level)
    return [
        Pair(arms[first].name, arms[second].name, *(float(value) for value in values))
        for first, second, *values in zip(
            found.first, found.second, found.difference, found.low, found.high, found.p_adjusted,
            strict=True,
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """What a look came to.

    Attributes:
        out: arms that are worse than another one, and the one by which most.
        left: the others, in their order.
        undecided: pairs of those left that are not shown to be equivalent.
    """

    out: Mapping[str, str]
    left: tuple[str, ...]
    undecided: int

    @property
    def is_over(self) -> bool:
        """Whether more seeds have nothing to find."""
        return self.undecided == 0


def decide(pairs: Sequence[Pair], arms: Sequence[str], *, level: float, margin: float) -> Decision:
    """Say which arms are out, and how many pairs of the rest are undecided.

    Of two arms that differ at the look's level the worse one is out. So the pairs that are left are
    equivalent, their simultaneous interval within the margin (two one-sided tests: Schuirmann,
    1987), or undecided. Pairs with arms that have left before are passed over: what was decided
    about them stays, and is not tested again on seeds that they were denied. They are in the family
    all the same, so that a difference takes no less than it did before.

    Args:
        pairs: of a family that may hold more arms.
        arms: that were in the study when the look was made.
        level: of the look. Adjusted p are drawn; one below the smallest that can be is never met.
        margin: a difference that does not matter, in the unit of the scores.
    """
    ours = [pair for pair in pairs if pair.a in arms and pair.b in arms]
    out: dict[str, str] = {}
    for pair in sorted(ours, key=lambda pair: -abs(pair.difference)):
        if pair.p_adjusted <= level:
            worse, better = (pair.a, pair.b) if pair.difference < 0 else (pair.b, pair.a)
            out.setdefault(worse, better)
    left = tuple(arm for arm in arms if arm not in out)
    rest = [pair for pair in ours if pair.a in left and pair.b in left]
    alike = sum(-margin < pair.low and pair.high < margin for pair in rest)
    return Decision(out, left, len(rest) - alike)


@dataclass(frozen=True, eq=False)
class Examples:
    """What a run was tested on.

    Attributes:
        labels: of the test examples.
        hash: of the test examples, see `runs.data.RunData.test_hash`; empty if it is not known. Two
            data sets, or two columns of texts, may have the same labels.
    """

    labels: npt.NDArray[np.int64]
    hash: str = ""

    def same(self, other: "Examples") -> bool:
        """Say whether another run was tested on the same examples, as far as both are known."""
        if self.hash and other.hash and self.hash != other.hash:
            return False
        return np.array_equal(self.labels, other.labels)


def other_examples(tested: Mapping[str, Examples]) -> str | None:
    """Return an arm that was tested on other examples than the first one; None if there is none."""
    (_, first), *others = tested.items()
    return next((name for name, own in others if not own.same(first)), None)
