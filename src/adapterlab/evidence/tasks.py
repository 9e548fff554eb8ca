"""Several arms on several tasks: who ranks where, and which arms can be told apart by it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, permutations
from math import factorial, isfinite, sqrt

import numpy as np
import numpy.typing as npt
from scipy import special

from adapterlab.evidence.arrays import Floats
from adapterlab.evidence.intervals import check_level

_MOST_ORDERS = 5040
_MOST_STATES = 400_000
"""Of the exact test: orders of a task's ranks, and sums times orders, which take a second."""


@dataclass(frozen=True)
class RankTest:
    """Ranks of k arms over N tasks, and what can be concluded from them.

    Attributes:
        mean_ranks: of each arm over tasks, 1 for an arm that is best on all, ties shared.
        tasks: N.
        chi_square: Friedman's statistic, corrected for ties; 0 where all arms tie on all tasks.
        f: Iman and Davenport's; infinite where all tasks agree, nan with one task.
        p: of the hypothesis that no arm ranks better than another.
        exact: whether ``p`` is from full enumeration; else from the F distribution of ``f``.
        level: of the test and of the critical difference.
        critical_difference: of Nemenyi, in mean ranks.
        groups: sets of arms, by index and best rank first, none of which is told apart from
            another of its set; sets within other sets are left out. All arms are in one set
            where ``p`` is not below ``level``.
        smallest_p: what ``p`` would be if all tasks agreed on one order.
        enough: the fewest tasks with which k arms can be told apart at all, at this ``level``.
    """

    mean_ranks: tuple[float, ...]
    tasks: int
    chi_square: float
    f: float
    p: float
    exact: bool
    level: float
    critical_difference: float
    groups: tuple[tuple[int, ...], ...]
    smallest_p: float
    enough: int

    @property
    def too_few(self) -> bool:
        """Whether no result on so few tasks could have told two arms apart."""
        return self.tasks < self.enough

    @property
    def order(self) -> tuple[int, ...]:
        """Arms by mean rank, the best first."""
        return tuple(np.argsort(self.mean_ranks, kind="stable").tolist())

    def apart(self, a: int, b: int) -> bool:
        """Whether two arms, by index, are told apart."""
        return not any(a in group and b in group for group in self.groups)


def compare_ranks(
    scores: Sequence[Sequence[float]] | Floats,
    *,
    level: float = 0.05,
    higher_is_better: bool = True,
) -> RankTest:
    """Rank arms on each task and compare the mean ranks: Demsar, 2006, JMLR 7, section 3.2.

    Friedman's test of all arms, by enumeration where that is quick and else with the correction
    of Iman and Davenport (1980), F = (N - 1)·χ² / (N(k - 1) - χ²); then, if that rejects,
    Nemenyi's: two arms differ if their mean ranks are a critical difference apart,
    CD = q·√(k(k + 1) / 6N), where q is the quantile of the studentized range for k means and
    infinite degrees of freedom over √2.

    A task counts once, however many seeds its scores are means of, so that this speaks of other
    tasks of the kind. Tasks that share data or a base are not independent draws, and then p is
    too small. The rank of an arm depends on which arms it is ranked with.

    Args:
        scores: ``[N, k]``, a mean over seeds for each task and arm, all finite; k at least 2.
        level: of the tests, between 0 and 1.
        higher_is_better: whether rank 1 is the highest score.

    Raises:
        ValueError: scores of another shape or not finite, or ``level`` out of range.
    """
    check_level(level)
    ranks = rank_by_task(scores, higher_is_better=higher_is_better)
    n, k = ranks.shape
    chi_square = _chi_square(ranks)
    f = _iman_davenport(chi_square, n, k)
    least = smallest_p(n, k)
    p = _exact_p(ranks)
    exact = p is not None
    if p is None:
        p = max(least, float(special.fdtrc(k - 1, (k - 1) * (n - 1), f)) if isfinite(f) else 0.0)
    means = ranks.mean(axis=0)
    difference = critical_difference(n, k, level=level)
    return RankTest(
        mean_ranks=tuple(means.tolist()),
        tasks=n,
        chi_square=chi_square,
        f=f,
        p=p,
        exact=exact,
        level=level,
        critical_difference=difference,
        groups=_groups(means, difference if p < level else np.inf),
        smallest_p=least,
        enough=next(m for m in count(2) if _can_find(m, k, level)),
    )


def rank_by_task(
    scores: Sequence[Sequence[float]] | Floats, *, higher_is_better: bool = True
) -> npt.NDArray[np.float64]:
    """Rank arms within each task, 1 the best; arms that tie share the mean of their ranks.

    Args:
        scores: ``[N, k]``, all finite.
        higher_is_better: whether rank 1 is the highest score.

    Returns:
        Ranks ``[N, k]``; every row adds up to k(k + 1) / 2.

    Raises:
        ValueError: scores of another shape, k below 2, or one that is not finite.
    """
    try:
        x = np.asarray(scores, dtype=np.float64)
    except ValueError as error:
        raise ValueError("scores of tasks with different numbers of arms; expected [N, k]") from (
            error
        )
    if x.ndim != 2 or len(x) == 0 or x.shape[1] < 2:
        raise ValueError(f"scores of shape {x.shape}; expected [N, k], N from 1 and k from 2")
    if not np.isfinite(x).all():
        raise ValueError(f"scores hold {x[~np.isfinite(x)][0]}; expected finite numbers")
    if higher_is_better:
        x = -x
    # Of an arm, those before it, itself, and half of those it ties with.
    before = (x[:, :, None] > x[:, None, :]).sum(axis=2)
    tied = (x[:, :, None] == x[:, None, :]).sum(axis=2)
    ranks: npt.NDArray[np.float64] = before + (tied + 1) / 2
    return ranks


def critical_difference(tasks: int, arms: int, *, level: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks; see `compare_ranks`.

    Raises:
        ValueError: ``tasks`` below 1, ``arms`` below 2, or ``level`` out of range.
    """
    check_level(level)
    if tasks < 1 or arms < 2:
        raise ValueError(f"{tasks} tasks and {arms} arms; expected from 1 and from 2")
    return _quantile(arms, level) * sqrt(arms * (arms + 1) / (6 * tasks))


def smallest_p(tasks: int, arms: int) -> float:
    """Return how often chance alone makes all tasks agree on one order: (k!)^(1 - N)."""
    return float(factorial(arms)) ** (1 - tasks)


@cache
def _quantile(arms: int, level: float) -> float:
    from scipy import stats  # whose import takes longer than all else here

    return float(stats.studentized_range.ppf(1 - level, arms, np.inf)) / sqrt(2)


def _can_find(tasks: int, arms: int, level: float) -> bool:
    """Say whether two arms could be told apart at best: by Friedman's test, and by Nemenyi's."""
    found = smallest_p(tasks, arms) < level
    return found and critical_difference(tasks, arms, level=level) <= arms - 1


def _chi_square(ranks: Floats) -> float:
    k = ranks.shape[1]
    centred = ranks - (k + 1) / 2
    between, within = float(np.square(centred.sum(axis=0)).sum()), float(np.square(centred).sum())
    # Without ties this is 12 / (Nk(k + 1)) · ΣR² - 3N(k + 1).
    return (k - 1) * between / within if within else 0.0


def _iman_davenport(chi_square: float, n: int, k: int) -> float:
    if n < 2:
        return float("nan")
    rest = n * (k - 1) - chi_square
    return (n - 1) * chi_square / rest if rest > 1e-9 * n else float("inf")


def _exact_p(ranks: Floats) -> float | None:
    """Exchange the ranks within each task in all ways; None where these are too many.

    The statistic depends on the sums of ranks alone, and not on which arm has which sum. So the
    sums are kept sorted, with the share of the ways that lead to them.
    """
    n, k = ranks.shape
    if factorial(k) > _MOST_ORDERS:
        return None
    doubled = np.rint(2 * ranks).astype(np.int64)  # whole, ties included
    places = (2 * n * k + 1) ** np.arange(k - 1, -1, -1, dtype=object)
    if places[0] * (2 * n * k + 1) >= 2**63:
        return None
    weights = places.astype(np.int64)
    sums: npt.NDArray[np.int64] = np.sort(doubled[:1], axis=1)
    shares: npt.NDArray[np.float64] = np.ones(1)
    for row in doubled[1:]:
        orders, times = _distinct(np.array(list(permutations(row.tolist()))), weights)
        if len(sums) * len(orders) > _MOST_STATES:
            return None
        new = np.sort((sums[:, None] + orders[None]).reshape(-1, k), axis=1)
        share = np.outer(shares, times / times.sum()).ravel()
        keys, first, place = np.unique(new @ weights, return_index=True, return_inverse=True)
        sums = new[first]
        shares = np.bincount(place, share, minlength=len(keys)).astype(np.float64)
    observed = np.square(doubled.sum(axis=0) - n * (k + 1)).sum()
    extreme = np.square(sums - n * (k + 1)).sum(axis=1) >= observed
    return float(min(1.0, shares[extreme].sum()))


def _distinct(
    rows: npt.NDArray[np.int64], weights: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    _, first, times = np.unique(rows @ weights, return_index=True, return_counts=True)
    return rows[first], times


def _groups(means: Floats, difference: float) -> tuple[tuple[int, ...], ...]:
    order = np.argsort(means, kind="stable").tolist()
    groups = list(_runs(order, means, difference))
    return tuple(
        group for i, group in enumerate(groups) if i == 0 or group[-1] != groups[i - 1][-1]
    )


def _runs(order: list[int], means: Floats, difference: float) -> Iterator[tuple[int, ...]]:
    """Yield for each arm itself and those ranked after it that are not told apart from it."""
    for i, best in enumerate(order):
        # Rounding of mean ranks is no difference.
        yield tuple(arm for arm in order[i:] if means[arm] - means[best] < difference - 1e-9)
