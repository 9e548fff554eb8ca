"""What follows from a look: which arms are out, and whether there is anything left to find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

from adapterlab.evidence.arrays import Booleans


class Pair(Protocol):
    """Two arms, compared within a family; the difference is a - b, as a share."""

    @property
    def a(self) -> str:
        """Name of an arm."""

    @property
    def b(self) -> str:
        """Name of the other."""

    @property
    def difference(self) -> float:
        """Of their scores."""

    @property
    def low(self) -> float:
        """Lower end of the simultaneous interval."""

    @property
    def high(self) -> float:
        """Upper end of the simultaneous interval."""

    @property
    def p_adjusted(self) -> float | None:
        """In the family; None where nothing could be tested."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What the finished runs of one arm got right.

    Attributes:
        seeds: S of them, in ascending order.
        correct: ``[S, N]``, test examples in the split's order.
    """

    seeds: tuple[int, ...]
    correct: Booleans


class FamilyTest(Protocol):
    """Compares all pairs of arms at a family-wise level; each arm has at least 2 seeds."""

    def __call__(
        self, arms: Mapping[str, Answers], *, level: float, margin: float
    ) -> Sequence[Pair]:
        """Return one result a pair of arms."""


@dataclass(frozen=True)
class Compared:
    """The plain `Pair`."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p_adjusted: float | None


def welch_bonferroni(arms: Mapping[str, Answers], *, level: float, margin: float) -> list[Compared]:
    """Compare all pairs by Welch's t (1947) with the examples' error added; Bonferroni's family.

    The variance of a difference is that over seeds of both arms plus that over test examples of
    the difference, to which two examples are added, one for each side (Bonett & Price, 2012), so
    that it is never 0. Degrees of freedom are Satterthwaite's.

    Args:
        arms: at least 2, tested on the same examples.
        level: of the family.
        margin: unused; intervals say all.
    """
    pairs = list(combinations(arms, 2))
    return [_compared(a, b, arms[a], arms[b], level, len(pairs)) for a, b in pairs]


def _compared(
    a: str, b: str, first: Answers, second: Answers, level: float, family: int
) -> Compared:
    over_seeds, spare = 0.0, 0.0
    for arm in (first, second):
        scores = arm.correct.mean(axis=1, dtype=np.float64)
        variance = float(scores.var(ddof=1)) / len(scores)
        over_seeds += variance
        spare += variance**2 / (len(scores) - 1)
    by_example = first.correct.mean(axis=0) - second.correct.mean(axis=0)
    n = len(by_example)
    difference = float(by_example.mean())
    over_examples = ((float(np.square(by_example).sum()) + 2) / n - difference**2) / n
    error = sqrt(over_seeds + over_examples)
    freedom = min(error**4 / spare, 1e9) if spare > 0 else 1e9
    p = 2 * float(special.stdtr(freedom, -abs(difference) / error))
    reach = float(special.stdtrit(freedom, 1 - level / family / 2)) * error
    return Compared(a, b, difference, difference - reach, difference + reach, min(p * family, 1.0))


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

    Of two arms that differ at the look's level the worse one is out; so the pairs that are left
    are equivalent within the margin, their simultaneous interval inside of it (two one-sided
    tests; Schuirmann, 1987), or undecided. Pairs with arms that have left before are passed over:
    what was decided about them stays, and is not tested again on seeds that they were denied.

    Args:
        pairs: of a family that may hold more arms.
        arms: that were in the study when the look was made.
        level: of the look.
        margin: difference that does not matter, as a share, from 0.
    """
    ours = [pair for pair in pairs if pair.a in arms and pair.b in arms]
    out: dict[str, str] = {}
    for pair in sorted(ours, key=lambda pair: -abs(pair.difference)):
        if pair.p_adjusted is None or pair.p_adjusted > level:
            continue
        worse, better = (pair.a, pair.b) if pair.difference < 0 else (pair.b, pair.a)
        out.setdefault(worse, better)
    left = tuple(arm for arm in arms if arm not in out)
    rest = [pair for pair in ours if pair.a in left and pair.b in left]
    alike = sum(-margin < pair.low and pair.high < margin for pair in rest)
    return Decision(out, left, len(rest) - alike)


def same_examples(labels: Mapping[str, npt.NDArray[np.int64]]) -> str | None:
    """Return an arm that was tested on other examples than the first one; None if there is none."""
    (_, first), *others = labels.items()
    return next((name for name, own in others if not np.array_equal(own, first)), None)
