"""One figure for an arm over several tasks: interquartile mean, probability of improvement."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import special

from adapterlab.evidence.arrays import Floats
from adapterlab.evidence.intervals import Interval, as_values, check_level, check_resamples

Scores = Sequence[Sequence[float] | Floats] | Floats
"""An arm's scores: for each task those of its seeds, whose number may differ by task."""


@dataclass(frozen=True)
class Aggregate:
    """A figure over tasks.

    Attributes:
        value: the figure.
        interval: as it would vary over other seeds on the same tasks; None where it cannot be
            known, as with one seed on a task.
    """

    value: float
    interval: Interval | None


def interquartile_mean(
    scores: Scores, *, level: float = 0.95, resamples: int = 2_000, seed: int = 0
) -> Aggregate:
    """Mean of the middle half of all scores: Agarwal et al., 2021 (arXiv:2108.13264), section 4.3.

    Every task weighs the same, however many seeds it has; a quarter of the weight is cut at
    either end. With equally many seeds, and a number of scores that four divides, it is
    ``rliable``'s. Where tasks differ much in level, what is cut are whole tasks, the easiest and
    the hardest: then it speaks of those in the middle.

    The interval is ± t · e. The error e is that of the paper's stratified bootstrap, which draws
    seeds anew within each task, but for S - 1 draws of S: to draw S makes an error that is too
    small by √(1 - 1/S), a tenth at 5 seeds (McCarthy and Snowden, 1985). t has the degrees of
    freedom that the tasks' variances give (Satterthwaite, 1946), since a percentile interval
    takes a few seeds' spread for the true one: at 4 tasks of 3 seeds such a 95% interval holds
    the true figure 86% of the time.

    Args:
        scores: ``[T][S]``, all finite; S may differ by task.
        level: of the interval.
        resamples: how often seeds are drawn anew.
        seed: of the draws.

    Raises:
        ValueError: no task, a task without a score, one that is not finite, or ``level`` or
            ``resamples`` out of range.
    """
    check_level(level)
    check_resamples(resamples)
    tasks = as_tasks(scores)
    value = float(_middle_half(np.concatenate(tasks)[None], _weights(tasks))[0])
    if min(map(len, tasks)) < 2:
        return Aggregate(value, None)
    rng = np.random.default_rng(seed)
    drawn = [x[rng.integers(len(x), size=(resamples, len(x) - 1))] for x in tasks]
    weights = _weights([one[0] for one in drawn])
    error = float(_middle_half(np.concatenate(drawn, axis=1), weights).std())
    reach = float(special.stdtrit(_freedom(tasks), (1 + level) / 2)) * error
    return Aggregate(value, Interval(value - reach, value + reach))


def probability_of_improvement(a: Scores, b: Scores, *, level: float = 0.95) -> Aggregate:
    """How likely a run of A beats one of B on a task drawn at random: Agarwal et al., 2021.

    The mean over tasks of P(A > B) + P(A = B) / 2, which is Mann and Whitney's U / (S_a · S_b).
    It says how often, not by how much.

    The interval is not the paper's bootstrap, which has no width where A is ahead with every
    seed, as is usual with few. It holds the probabilities that the observed one is no further
    from than z errors, where the error is that of Hanley and McNeil (1982) *at that probability*
    (Newcombe, 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic", part 2, method 5), summed over the tasks as if they shared it. It stays inside
    0 to 1.

    Args:
        a: ``[T][S_a]``, all finite; S_a may differ by task.
        b: ``[T][S_b]``, of the same tasks in the same order.
        level: of the interval.

    Raises:
        ValueError: as `interquartile_mean`, or different numbers of tasks.
    """
    check_level(level)
    x, y = as_tasks(a), as_tasks(b)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} tasks for {len(y)}; expected the same ones")
    wins = [float((np.sign(i[:, None] - j[None, :]).mean() + 1) / 2)
            for i, j in zip(x, y, strict=True)]  # fmt: skip
    value = float(np.mean(wins))
    sizes = [(len(i), len(j)) for i, j in zip(x, y, strict=True)]
    if min(min(pair) for pair in sizes) < 2:
        return Aggregate(value, None)
    z = NormalDist().inv_cdf((1 + level) / 2)
    low = _furthest(value, 0.0, sizes, z)
    return Aggregate(value, Interval(low, 1 - _furthest(1 - value, 0.0, sizes, z)))


def as_tasks(scores: Scores) -> list[npt.NDArray[np.float64]]:
    """Return an arm's scores as one array for each task; a ValueError for anything else."""
    tasks = [as_values(one) for one in scores]
    if not tasks:
        raise ValueError("scores of no task; expected at least one")
    return tasks


def _weights(tasks: Sequence[Floats]) -> npt.NDArray[np.float64]:
    return np.concatenate([np.full(len(x), 1 / (len(tasks) * len(x))) for x in tasks])


def _middle_half(values: Floats, weights: Floats) -> npt.NDArray[np.float64]:
    """Mean of each row of ``values``, ``[B, n]``, between its weighted quartiles."""
    order = np.argsort(values, axis=1, kind="stable")
    ends = np.cumsum(weights[order], axis=1)
    # Of the stretch that a value takes of 0 to 1, what lies in 0.25 to 0.75.
    inside = np.clip(ends, 0.25, 0.75)
    parts = np.diff(inside, axis=1, prepend=0.25)
    middle: npt.NDArray[np.float64] = 2 * (parts * np.take_along_axis(values, order, axis=1)).sum(
        axis=1
    )
    return middle


def _freedom(tasks: Sequence[Floats]) -> float:
    """Degrees of freedom of the error of a mean over tasks; as of one spread if there is none."""
    errors = np.array([x.var(ddof=1) / len(x) for x in tasks])
    freedoms = np.array([len(x) - 1 for x in tasks])
    if not errors.any():
        return float(freedoms.sum())
    return float(errors.sum() ** 2 / (errors**2 / freedoms).sum())


def _furthest(value: float, low: float, sizes: Sequence[tuple[int, int]], z: float) -> float:
    """Return the least probability that ``value`` is within z errors of, by bisection."""
    high = value
    if value == 0:
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        if value - middle > z * _hanley_mcneil(middle, sizes):
            low = middle
        else:
            high = middle
    return high


def _hanley_mcneil(p: float, sizes: Sequence[tuple[int, int]]) -> float:
    """Return the standard error of a mean over tasks at a true probability ``p`` in all."""
    variance = 0.0
    for m, n in sizes:
        more = (m + n) / 2 - 1
        variance += p * (1 - p) * (1 + more * ((1 - p) / (2 - p) + p / (1 + p))) / (m * n)
    return sqrt(variance) / len(sizes)
