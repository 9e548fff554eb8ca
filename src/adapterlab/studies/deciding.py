"""What follows from a look: which arms are out, and whether there is anything left to find."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import Comparison, Verdict, compare_all

FamilyTest = Callable[[Sequence[Replicates], float, float], Sequence[Comparison]]
"""Compares all pairs of arms; takes the arms, a family-wise level and a margin."""


def all_comparisons(arms: Sequence[Replicates], level: float, margin: float) -> list[Comparison]:
    """Compare all pairs, as the report does: `evidence.verdicts.compare_all`."""
    family = compare_all(arms, level=level, margin=margin)
    return [family.compare(a.name, b.name) for a, b in combinations(arms, 2)]


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


def decide(comparisons: Sequence[Comparison], arms: Sequence[str], *, level: float) -> Decision:
    """Say which arms are out, and how many pairs of the rest are undecided.

    Of two arms that differ at the look's level the worse one is out, so the pairs that are left are
    equivalent within the margin or undecided. Pairs with arms that have left before are passed
    over: what was decided about them stays, and is not tested again on seeds that they were denied.
    They are in the family all the same, so that the arms that are left need no less than before.

    Args:
        comparisons: all pairs of a family that may hold more arms.
        arms: that were in the study when the look was made.
        level: of the look. A family's p-values are drawn, and its intervals cannot be wider than
            the draws say; where the level is smaller than that, only p decides.
    """
    ours = [pair for pair in comparisons if pair.a in arms and pair.b in arms]
    out: dict[str, str] = {}
    for pair in sorted(ours, key=lambda pair: -abs(pair.difference)):
        if pair.p_adjusted is None or pair.p_adjusted > level:
            continue
        if pair.verdict is Verdict.WORSE:
            out.setdefault(pair.a, pair.b)
        elif pair.verdict is Verdict.BETTER:
            out.setdefault(pair.b, pair.a)
    left = tuple(arm for arm in arms if arm not in out)
    rest = [pair for pair in ours if pair.a in left and pair.b in left]
    alike = sum(pair.verdict is Verdict.EQUIVALENT for pair in rest)
    return Decision(out, left, len(rest) - alike)


def other_examples(labels: Mapping[str, npt.NDArray[np.int64]]) -> str | None:
    """Return an arm that was tested on other examples than the first one; None if there is none."""
    (_, first), *others = labels.items()
    return next((name for name, own in others if not np.array_equal(own, first)), None)
