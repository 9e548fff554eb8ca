"""All pairs of a study's arms, compared at once: valid whichever pair is looked at."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from adapterlab.evidence.arrays import Floats
from adapterlab.evidence.intervals import check_level
from adapterlab.evidence.spread import Spread

Vector = npt.NDArray[np.float64]

DRAWS = 20_000
"""Studies without a difference that are drawn; a p-value of 5% is then sure to 0.15 points."""

PRIOR = 2.0
"""Degrees of freedom that the other arms' variances count for, beside an arm's own."""

_NEAR = 0.75
"""Part of the usual degrees of freedom, their geometric mean, from which on others count."""

RESERVE = 0.9
"""Part of the level that is used: the draws take estimated variances for true ones, which makes
them lenient by up to a tenth (docs/experiments.md has the simulations)."""

_MOST = 2.0
"""Times the level: the largest p of a pair by itself that may count."""

_WORK = 3_000_000
"""Pairs times draws that are computed at most: seconds, with 30 arms."""

_FEWEST_DRAWS = 4_000
_AT_ONCE = 1_000_000


@dataclass(frozen=True, eq=False)
class AllPairs:
    """What all pairs of K arms came to; pair m is arm ``first[m]`` minus arm ``second[m]``.

    Attributes:
        first, second: places of the arms, ``[M]``.
        difference: of their means.
        error: standard error of the difference, over runs and test examples at once.
        freedom: its degrees of freedom.
        p: two-sided p-value of each pair by itself.
        p_adjusted: of each pair in the family: how often the most extreme pair of a study
            without any difference would be as extreme.
        critical: what ``p`` must be below, for ``p_adjusted`` not to be above the level.
        low, high: simultaneous intervals: all of them hold the true differences at once, in a
            share ``1 - level`` of studies. One that does not hold 0 is a difference.
        may_be_best: ``[K]``, see `all_pairs`.
    """

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    difference: Vector
    error: Vector
    freedom: Vector
    p: Vector
    p_adjusted: Vector
    critical: float
    low: Vector
    high: Vector
    may_be_best: npt.NDArray[np.bool_]


def all_pairs(
    spread: Spread,
    *,
    level: float = 0.05,
    control: int | None = None,
    higher_is_better: bool = True,
    draws: int = DRAWS,
    seed: int = 0,
) -> AllPairs:
    """Compare all pairs of arms, so that at most ``level`` of all studies has a false difference.

    Each pair has Welch's t (1947), with the error over test examples added to that over runs and
    their joint part taken out once (`Spread`), and Satterthwaite's degrees of freedom. Variances
    over a few runs are steadied by those of the other arms, see `moderated`. How small
    the smallest of the M p-values may be by luck is found by drawing: studies like this one, with
    its errors and without a difference, each with variances over runs of its own, and their
    smallest p-value (a parametric bootstrap of the minimal p-value: Westfall & Young, 1993,
    *Resampling-Based Multiple Testing*; for means of unequal variances Krishnamoorthy, Lu &
    Mathew, 2007, "A parametric bootstrap approach for ANOVA with unequal variances"). With the
    studentized range in place of the draws this would be Games & Howell's procedure (1976), which
    has false differences in up to a quarter of studies of 20 arms with 3 runs each. A level that is
    rarer than one in all draws, as of an early look, leaves each pair its part of it (Bonferroni).

    The arms that *may be best* are those of Hsu's multiple comparisons with the best (1981;
    1996, *Multiple Comparisons*, chapter 4): an arm is out if it is worse than some other,
    one-sided, at a level that counts its own comparisons only. The best is among them in
    ``1 - level`` of studies, and the set is never empty.

    Args:
        spread: of K arms, each of at least 2 runs.
        level: of the family.
        control: an arm that was named beforehand; only pairs with it are compared.
        higher_is_better: of the scores; it decides which arms may be best.
        draws: of studies without a difference, at most.
        seed: of the draws; the same seed gives the same result.

    Raises:
        ValueError: ``level`` out of range, or an arm of one run.
    """
    check_level(level)
    k = len(spread.means)
    if not (spread.freedom >= 1).all():
        raise ValueError("an arm of one run has no spread; expected at least 2 runs an arm")
    first, second = np.triu_indices(k, 1)
    if control is not None:
        kept = (first == control) | (second == control)
        first, second = first[kept], second[kept]
    pairs = _Pairs(spread, first, second)
    difference = spread.means[first] - spread.means[second]
    error, freedom = pairs.error(spread.runs)
    one_sided = special.stdtr(freedom, difference / error)
    p = 2 * special.stdtr(freedom, -np.abs(difference) / error)
    if not len(first):
        nothing, best = np.empty(0), np.ones(k, dtype=np.bool_)
        return AllPairs(
            first, second, difference, error, freedom, p, nothing, level, nothing, nothing, best
        )
    count = min(draws, max(_FEWEST_DRAWS, _WORK // len(first)))
    smallest, smallest_by_arm = pairs.without_differences(count, np.random.default_rng(seed))
    smallest.sort()
    as_extreme = (1 + np.searchsorted(smallest, p, side="right")) / (count + 1)
    # Arms that answer alike leave nothing to draw from: their p are all 1, and prove nothing.
    p_adjusted = np.clip(as_extreme / RESERVE, p / _MOST, 1.0)
    # What is rarer than one in all draws, they do not show.
    beyond = p < smallest[0]
    p_adjusted[beyond] = np.minimum(p_adjusted[beyond], len(first) * p[beyond])
    place = int(RESERVE * level * (count + 1))
    critical = float(smallest[place - 1]) if place else min(smallest[0], level / len(first))
    critical = min(critical, _MOST * level)
    reach = -special.stdtrit(freedom, critical / 2) * error
    worse = one_sided if higher_is_better else 1 - one_sided
    found = _smallest_by_arm(worse[None], first, second, k)[0]
    limits = np.minimum(np.quantile(smallest_by_arm, RESERVE * level, axis=0), _MOST * level)
    if not place:
        limits = np.minimum(limits, level / max(k - 1, 1))
    return AllPairs(
        first=first,
        second=second,
        difference=difference,
        error=error,
        freedom=freedom,
        p=p,
        p_adjusted=p_adjusted,
        critical=critical,
        low=difference - reach,
        high=difference + reach,
        may_be_best=found > limits,
    )


def moderated(runs: Floats, freedom: Floats) -> Vector:
    """Draw variances over runs towards what is usual in their study.

    With 3 runs an arm, some variance of many is close to 0 by luck, and its arm would pass for
    different from all others; guarding against that with each arm's own variance alone leaves
    nothing to be found. So each is averaged with the usual one, which counts `PRIOR` degrees of
    freedom (Smyth, 2004, "Linear models and empirical Bayes methods for assessing differential
    expression in microarray experiments"; there the weight is estimated, which takes thousands of
    arms). The usual one is the median, so that one arm of wild runs does not spoil it.

    An arm of far fewer runs than is usual has its own variance alone: those of the others are known
    so much better that nothing makes up for a wild arm that is steadied too far. Of 3 runs beside
    two arms of 20, one that varied three times as much made 8 in 100 studies false, and 4 so.

    Args:
        runs: variances of means over runs, ``[..., K]``.
        freedom: their degrees of freedom, S - 1, ``[K]``.

    Returns:
        Variances, ``[..., K]``, with `steadied` degrees of freedom.
    """
    size = freedom + 1
    # A variance's median lies below its mean.
    single = runs * size * freedom / special.chdtri(freedom, 0.5)
    usual = np.median(single, axis=-1, keepdims=True) / size
    total = steadied(freedom)
    found: Vector = ((total - freedom) * usual + freedom * runs) / total
    return found


def steadied(freedom: Floats) -> Vector:
    """Return the degrees of freedom of `moderated` variances, ``[K]``."""
    near = freedom >= _NEAR * np.exp(np.log(freedom).mean())
    total: Vector = np.asarray(freedom, np.float64) + np.where(near, PRIOR, 0.0)
    return total


class _Pairs:
    """The errors of pairs, and their p-values in studies without a difference."""

    def __init__(
        self, spread: Spread, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]
    ) -> None:
        self.spread, self.first, self.second = spread, first, second
        self.examples = spread.differences[first, second]
        self.joint = spread.joint[first] + spread.joint[second]
        own = steadied(spread.freedom)
        self.freedom = own[first], own[second]
        self.fewest = np.minimum(*self.freedom)

    def error(self, runs: Floats) -> tuple[Vector, Vector]:
        """Return standard errors and degrees of freedom, given variances over runs."""
        runs = moderated(runs, self.spread.freedom)
        u, v = runs[..., self.first], runs[..., self.second]
        variance = self.examples + np.maximum(u + v - self.joint, 0)
        spare = np.square(u) / self.freedom[0] + np.square(v) / self.freedom[1]
        with np.errstate(over="ignore"):  # runs that all agree: infinite, and cut
            freedom = np.square(variance) / np.maximum(spare, np.finfo(float).tiny)
        return np.sqrt(variance), np.clip(freedom, self.fewest, 1e9)

    def without_differences(self, count: int, rng: np.random.Generator) -> tuple[Vector, Vector]:
        """Draw studies; return the smallest p of each ``[count]``, and those by arm."""
        spread, k = self.spread, len(self.spread.means)
        of_runs = np.maximum(spread.runs - spread.joint, 0)
        values, vectors = np.linalg.eigh(spread.examples)
        root = vectors * np.sqrt(np.maximum(values, 0))
        smallest, by_arm = np.empty(count), np.empty((count, k))
        step = max(_AT_ONCE // len(self.first), 1)
        for start in range(0, count, step):
            size = min(step, count - start)
            means = rng.standard_normal((size, k)) @ root.T
            means += rng.standard_normal((size, k)) * np.sqrt(of_runs)
            runs = (of_runs + spread.joint) * rng.chisquare(spread.freedom, (size, k))
            runs /= spread.freedom
            error, freedom = self.error(runs)
            difference = means[:, self.first] - means[:, self.second]
            one_sided = special.stdtr(freedom, difference / error)
            smallest[start : start + size] = 2 * np.minimum(one_sided, 1 - one_sided).min(axis=1)
            by_arm[start : start + size] = _smallest_by_arm(one_sided, self.first, self.second, k)
        return smallest, by_arm


def _smallest_by_arm(
    one_sided: Vector, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp], k: int
) -> Vector:
    """Return for each study and arm the smallest p of being worse than another, ``[R, K]``.

    Args:
        one_sided: p of the first being worse than the second, ``[R, M]``.
        first: place of each pair's first arm, ``[M]``.
        second: of its second.
        k: number of arms; one without a pair has 1.
    """
    found = np.ones((len(one_sided), k))
    for arm in range(k):
        as_first, as_second = one_sided[:, first == arm], 1 - one_sided[:, second == arm]
        both = np.concatenate([as_first, as_second], axis=1)
        if both.shape[1]:
            found[:, arm] = both.min(axis=1)
    return found
