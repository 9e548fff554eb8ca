"""Which arms differ: verdicts on all pairs, over runs and over test examples, as one family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import ceil

import numpy as np
from scipy import special

from adapterlab.evidence.detectable import smallest_detectable
from adapterlab.evidence.family import DRAWS, AllPairs, all_pairs
from adapterlab.evidence.intervals import Interval, check_level
from adapterlab.evidence.letters import letters
from adapterlab.evidence.mcnemar import mcnemar
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.spread import Spread

MIN_SEEDS = 3
"""Runs of an arm from which on its spread is estimated."""

MARGIN = 0.005
"""A difference that does not matter, unless a study says otherwise: half a point."""

UNSEEN = 3.0
"""Examples whose like may be missing from a test split by luck: what happens to more of them than
that shows in 95% of splits (the rule of three: Hanley & Lippman-Hand, 1983)."""


class Verdict(StrEnum):
    """What a comparison came to, from the point of view of its first arm."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    NOT_WORSE = "not worse"
    UNDECIDED = "undecided"
    TRAINED_BETTER = "better as trained"
    TRAINED_WORSE = "worse as trained"
    TOO_FEW_SEEDS = "too few seeds"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Comparison:
    """Arm a against arm b; all differences are a - b, in the unit of the scores.

    Attributes:
        a: name of the arm.
        b: name of the arm it is compared with.
        difference: of the means over all of their runs.
        interval: of the difference, simultaneous over all pairs of the family; None if it was
            not tested.
        p: of this pair by itself, over runs and test examples; None likewise.
        p_adjusted: of this pair in the family; None likewise.
        smallest_detectable: true difference that a study like this one would have found 80% of
            the time; None likewise, or if there is no such difference.
        runs: of a and of b.
        verdict: of a.
        why: why it was not tested; empty if it was.
    """

    a: str
    b: str
    difference: float
    interval: Interval | None
    p: float | None
    p_adjusted: float | None
    smallest_detectable: float | None
    runs: tuple[int, int]
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, eq=False)
class Family:
    """The arms of a study that were tested on the same examples, and all that was decided.

    Attributes:
        arms: in the order in which they were given.
        level: share of studies with a false difference, at most.
        margin: a difference that does not matter, in the unit of the scores.
        higher_is_better: of the scores.
        largest: the largest difference that there can be; infinite where there is none.
        control: the arm that was named beforehand, if only pairs with it are compared.
        tested: places of the arms with at least `MIN_SEEDS` runs.
        spread: of the tested arms.
        pairs: of the tested arms.
    """

    arms: tuple[Replicates, ...]
    level: float
    margin: float
    higher_is_better: bool
    largest: float
    control: str | None
    tested: tuple[int, ...]
    spread: Spread | None
    pairs: AllPairs | None

    def compare(self, a: str, b: str) -> Comparison:
        """Return what was found on a pair, from the point of view of ``a``.

        Raises:
            ValueError: one of them is no arm of the family, or both are the same.
        """
        i, j = self._place(a), self._place(b)
        if i == j:
            raise ValueError(f"{a} is not compared with itself")
        one, other = self.arms[i], self.arms[j]
        runs = one.runs, other.runs
        m = self._pair(i, j)
        if m is None:
            difference = float(one.scores.mean() - other.scores.mean())
            verdict, why = self._untested(one, other)
            return Comparison(a, b, difference, None, None, None, None, runs, verdict, why)
        pairs, spread = self.pairs, self.spread
        assert pairs is not None
        assert spread is not None
        place = {arm: at for at, arm in enumerate(self.tested)}
        interval = self._interval(m, place[i])
        difference = float(pairs.difference[m])
        found = smallest_detectable(spread, place[i], place[j], critical=pairs.critical)
        return Comparison(
            a=a,
            b=b,
            difference=difference if pairs.first[m] == place[i] else -difference,
            interval=interval,
            p=float(pairs.p[m]),
            p_adjusted=float(pairs.p_adjusted[m]),
            smallest_detectable=found if found <= self.largest else None,
            runs=runs,
            verdict=self._verdict(interval),
        )

    def verdict(self, a: str, b: str) -> Verdict:
        """Return the verdict on a pair, which takes less than all that `compare` finds.

        Raises:
            ValueError: as `compare`.
        """
        i, j = self._place(a), self._place(b)
        m = self._pair(i, j)
        if i == j or m is None:
            return self.compare(a, b).verdict
        return self._verdict(self._interval(m, self.tested.index(i)))

    @cached_property
    def enough_examples(self) -> int:
        """How many test examples it takes to show that arms differ by less than the margin.

        Of answers that are right or wrong; of fewer, examples on which the arms differ may all be
        missing from the split. 0 for other scores.
        """
        if any(arm.answers is None for arm in self.arms):
            return 0
        return ceil(UNSEEN / self.margin)

    @cached_property
    def widest(self) -> float | None:
        """The most by which any two arms may differ, by all intervals; None if none was tested."""
        if self.pairs is None or self.control is not None:
            return None
        return min(float(max(-self.pairs.low.min(), self.pairs.high.max())), self.largest)

    def share_of_runs(self, a: str, b: str) -> float | None:
        """Return which part of the variance of a difference is the runs'; None if not tested."""
        pair = self._in_spread(a, b)
        return None if pair is None or self.spread is None else self.spread.share_of_runs(*pair)

    def share_for_seeds(self, a: str, b: str) -> float | None:
        """Return which part of it more seeds would take off; None if not tested."""
        pair = self._in_spread(a, b)
        return None if pair is None or self.spread is None else self.spread.share_for_seeds(*pair)

    def _in_spread(self, a: str, b: str) -> tuple[int, int] | None:
        i, j = self._place(a), self._place(b)
        if self.spread is None or self._pair(i, j) is None:
            return None
        return self.tested.index(i), self.tested.index(j)

    @cached_property
    def letters(self) -> Mapping[str, str]:
        """Letters by arm: two that share one are not told apart; empty for untested arms."""
        names = [arm.name for arm in self.arms]
        found = dict.fromkeys(names, "")
        if self.pairs is None or self.control is not None:
            return found
        sign = 1 if self.higher_is_better else -1
        order = sorted(self.tested, key=lambda at: -sign * float(self.arms[at].scores.mean()))
        rank = {self.tested.index(at): n for n, at in enumerate(order)}
        pairs = self.pairs
        differs = (pairs.low > 0) | (pairs.high < 0)
        apart = [
            (rank[int(i)], rank[int(j)])
            for i, j, d in zip(pairs.first, pairs.second, differs, strict=True)
            if d
        ]
        given = letters(len(order), apart)
        return found | {names[at]: given[n] for n, at in enumerate(order)}

    @cached_property
    def may_be_best(self) -> Mapping[str, bool | None]:
        """Whether each arm may be the best, see `family.all_pairs`; None if it is not known."""
        found: dict[str, bool | None] = {arm.name: None for arm in self.arms}
        if self.pairs is None or self.control is not None:
            return found
        for at, may in zip(self.tested, self.pairs.may_be_best, strict=True):
            found[self.arms[at].name] = bool(may)
        return found

    def _place(self, name: str) -> int:
        for place, arm in enumerate(self.arms):
            if arm.name == name:
                return place
        raise ValueError(f"{name} is no arm of this family")

    def _pair(self, i: int, j: int) -> int | None:
        """Return the place of a pair among those that were tested."""
        if self.pairs is None or i not in self.tested or j not in self.tested:
            return None
        a, b = sorted((self.tested.index(i), self.tested.index(j)))
        (found,) = np.nonzero((self.pairs.first == a) & (self.pairs.second == b))
        return int(found[0]) if len(found) else None

    def _interval(self, m: int, first: int) -> Interval:
        """Return the interval of a pair, from the point of view of one of its arms."""
        pairs = self.pairs
        assert pairs is not None
        low, high = (
            float(np.clip(end[m], -self.largest, self.largest)) for end in (pairs.low, pairs.high)
        )
        return Interval(low, high) if pairs.first[m] == first else Interval(-high, -low)

    def _verdict(self, interval: Interval) -> Verdict:
        low, high = interval.low, interval.high
        if not self.higher_is_better:
            low, high = -high, -low
        if low > 0:
            return Verdict.BETTER
        if high < 0:
            return Verdict.WORSE
        if low > -self.margin and self.arms[0].examples >= self.enough_examples:
            return Verdict.EQUIVALENT if high < self.margin else Verdict.NOT_WORSE
        return Verdict.UNDECIDED

    def _untested(self, one: Replicates, other: Replicates) -> tuple[Verdict, str]:
        """Say what is known of arms with too few runs, from the models that were trained."""
        fewest = min(one.runs, other.runs)
        if fewest >= MIN_SEEDS:
            return Verdict.NOT_COMPARABLE, f"only pairs with {self.control} were planned"
        why = f"{fewest} of the {MIN_SEEDS} seeds that a test takes"
        count = len(self.arms) * (len(self.arms) - 1) // 2
        sign = 1 if self.higher_is_better else -1
        for a, b, verdict in (
            (one, other, Verdict.TRAINED_BETTER),
            (other, one, Verdict.TRAINED_WORSE),
        ):
            if all(
                sign * (x.mean() - y.mean()) > 0 and _of_models(x, y) < self.level / count
                for x in a.values
                for y in b.values
            ):
                return verdict, why
        return Verdict.TOO_FEW_SEEDS, why


def compare_all(
    arms: Sequence[Replicates],
    *,
    level: float = 0.05,
    margin: float = MARGIN,
    higher_is_better: bool = True,
    largest: float = np.inf,
    control: str | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Family:
    """Compare all pairs of arms that were tested on the same examples.

    A difference counts if its simultaneous interval, see `family.all_pairs`, does not hold 0.
    What does not count is looked at with the margin: the whole interval within it is
    *equivalent* (two one-sided tests: Schuirmann, 1987), its lower end within it *not worse* by
    more than the margin, anything else *undecided*. All of these hold at once, for all pairs.
    With fewer test examples than `Family.enough_examples`, the margin shows nothing.

    An arm with fewer than `MIN_SEEDS` runs takes no part, and changes nothing for the others. If
    each of its models differs from each of another arm's beyond doubt, in McNemar's exact test
    corrected for all pairs (Bonferroni), it is better or worse *as trained*: that says nothing
    about other seeds.

    Args:
        arms: at least one, all names different.
        level: share of studies with a false difference, at most.
        margin: in the unit of the scores, above 0.
        higher_is_better: of the scores.
        largest: the largest difference that there can be, as 1 of shares; intervals end there.
        control: an arm that was named before anything was seen; only pairs with it are compared.
        draws: of studies without a difference, see `family.all_pairs`.
        seed: of the draws.

    Raises:
        ValueError: different numbers of examples, names that come twice, or an argument out of
            its range.
    """
    check_level(level)
    names = [arm.name for arm in arms]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"arms are named {names}; expected different names, one at least")
    if not 0 < margin < np.inf:
        raise ValueError(f"margin is {margin}; expected above 0")
    if control is not None and control not in names:
        raise ValueError(f"{control} is no arm of {names}")
    tested = tuple(place for place, arm in enumerate(arms) if arm.runs >= MIN_SEEDS)
    spread = pairs = None
    if any(arm.examples != arms[0].examples for arm in arms):
        Spread.of(arms)  # says which
    if len(tested) > 1:
        spread = Spread.of([arms[place] for place in tested])
        at = tested.index(names.index(control)) if control in _named(arms, tested) else None
        if control is None or at is not None:
            pairs = all_pairs(
                spread,
                level=level,
                control=at,
                higher_is_better=higher_is_better,
                draws=draws,
                seed=seed,
            )
    return Family(
        tuple(arms), level, margin, higher_is_better, largest, control, tested, spread, pairs
    )


def _named(arms: Sequence[Replicates], places: Sequence[int]) -> set[str]:
    return {arms[place].name for place in places}


def _of_models(x: np.ndarray, y: np.ndarray) -> float:
    """Return a two-sided p-value for two trained models, over test examples."""
    zero_one = ((x == 0) | (x == 1)) & ((y == 0) | (y == 1))
    if zero_one.all():
        return mcnemar(x == 1, y == 1).p
    d = np.asarray(x, np.float64) - y
    jump = float(np.square(np.square(d)).sum() / max(np.square(d).sum(), 1e-300))
    error = np.sqrt(np.square(d).sum() + 2 * jump)
    return 2 * float(special.ndtr(-abs(d.sum()) / error))
