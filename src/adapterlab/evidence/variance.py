"""Where the luck comes from: a standard deviation for each thing that is drawn at random."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import special

from adapterlab.evidence.arrays import Booleans, Floats
from adapterlab.evidence.intervals import (
    Interval,
    as_values,
    check_level,
    check_resamples,
    quantile_interval,
)

EXAMPLES, INTERACTIONS = "test examples", "interactions"
"""Names of components that are no factor of a design."""

Levels = Mapping[str, Sequence[Hashable]]
"""For each factor, such as the seed of the batch order, its level in each of R runs."""


@dataclass(frozen=True)
class Component:
    """How much of a figure's luck one source makes.

    Attributes:
        name: of the source.
        deviation: standard deviation that it gives a single run's figure, in the unit of the
            figure.
        interval: of the deviation.
        runs: how many runs the estimate rests on.
        truncated: whether the estimated variance was below 0, which the deviation shows as 0.
        share: of the variance of all components that were put together; see `put_together`.
    """

    name: str
    deviation: float
    interval: Interval
    runs: int
    truncated: bool = False
    share: float = 1.0


@dataclass(frozen=True)
class Luck:
    """Components put together, the largest first.

    Attributes:
        components: at least one.
        deviation: the square root of the sum of their variances.
    """

    components: tuple[Component, ...]
    deviation: float

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of those that may be the largest; a single one rules.

        They are those whose interval reaches as high as that of the largest reaches low.
        """
        first = self.components[0]
        return tuple(one.name for one in self.components if one.interval.high >= first.interval.low)


def put_together(components: Sequence[Component]) -> Luck:
    """Sort components, and give each its share of the sum of the variances.

    Raises:
        ValueError: there is none, or two have one name.
    """
    names = [one.name for one in components]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"components {names}; expected at least one, with different names")
    total = sum(one.deviation**2 for one in components)
    shared = [replace(one, share=one.deviation**2 / total if total else 0.0) for one in components]
    ranked = sorted(shared, key=lambda one: -one.deviation)
    return Luck(tuple(ranked), sqrt(total))


def one_at_a_time(
    values: Sequence[float] | Floats, levels: Levels, *, level: float = 0.95
) -> list[Component]:
    """Estimate each source by runs in which it alone varies: Bouthillier et al., 2021.

    "Accounting for variance in machine learning benchmarks" (arXiv:2103.03098), section 2. The
    common point has of every factor the level that most runs have. A factor's runs are those
    that differ from the common point in that factor only, and the common point itself; its
    deviation is their sample deviation s, of n runs, in (n - 1)·s² / χ² an interval for normal
    values.

    A factor's interactions with the others count to it, at the common point's levels, so that
    the sum of the components is not the variance of a run in which all vary, but for factors
    that do not interact; `crossed` tells interactions apart. Runs that differ in two factors
    take no part. Components share the run of the common point.

    Args:
        values: ``[R]``, such as the accuracy of each run, all finite.
        levels: of R for each factor.
        level: of the intervals.

    Returns:
        One component for each factor of which at least one run was varied, in their order.

    Raises:
        ValueError: lengths that differ, no factor, no run at the common point, one level twice,
            or ``level`` out of range.
    """
    check_level(level)
    x, factors = _checked(values, levels)
    common = {name: Counter(column).most_common(1)[0][0] for name, column in factors.items()}
    differs = {
        name: np.array([one != common[name] for one in column]) for name, column in factors.items()
    }
    times = np.sum(list(differs.values()), axis=0)
    centre = np.flatnonzero(times == 0)
    if len(centre) != 1:
        at = ", ".join(f"{name}={value}" for name, value in common.items())
        raise ValueError(f"{len(centre)} runs at the common point, {at}; expected one")
    found = []
    for name, column in factors.items():
        rows = np.flatnonzero(differs[name] & (times == 1))
        if not len(rows):
            continue
        if len({column[row] for row in rows}) < len(rows):
            raise ValueError(f"runs with one level of {name} twice; expected different ones")
        drawn = x[[*centre, *rows]]
        found.append(_of_a_sample(name, float(drawn.var(ddof=1)), len(drawn), level))
    return found


def crossed(
    values: Sequence[float] | Floats, levels: Levels, *, level: float = 0.95
) -> list[Component]:
    """Estimate each source of a full cross of factors, one run a cell, by the method of moments.

    The analysis of variance of the main effects, factors random: σ²(factor) is the mean square
    of the factor, less that of the rest, over the number of runs at each of its levels (Searle,
    Casella and McCulloch, 1992, "Variance components", chapter 4). The rest is a component of
    its own, `INTERACTIONS`. An estimate below 0 is set to 0 and marked, and so is the end of an
    interval; one that lies below 0 as a whole is 0 to 0, which means less than chance would do.

    Intervals are those of modified large samples (Ting et al., 1990; Burdick and Graybill, 1992,
    section 3.3), which hold σ² about ``level`` of the time for normal values.

    Args:
        values: ``[R]``, all finite.
        levels: of R for each of at least two factors, each of at least two levels.
        level: of the intervals.

    Raises:
        ValueError: lengths that differ, fewer than two factors or levels, a cell of the cross
            without a run or with several, or ``level`` out of range.
    """
    check_level(level)
    x, factors = _checked(values, levels)
    sizes = {name: len(set(column)) for name, column in factors.items()}
    cells = Counter(zip(*factors.values(), strict=True))
    if len(factors) < 2 or min(sizes.values()) < 2:
        raise ValueError(f"levels of factors: {sizes}; expected two or more of two or more")
    if len(cells) != np.prod(list(sizes.values())) or len(cells) != len(x):
        raise ValueError(
            f"{len(x)} runs in {len(cells)} cells of a cross of "
            f"{' x '.join(map(str, sizes.values()))}; expected one run in each"
        )
    squares = {}
    for name, column in factors.items():
        means = [x[[one == value for one in column]].mean() for value in dict.fromkeys(column)]
        squares[name] = len(x) / sizes[name] * float(np.square(means - x.mean()).sum())
    rest = float(np.square(x - x.mean()).sum()) - sum(squares.values())
    freedom = len(x) - 1 - sum(size - 1 for size in sizes.values())
    error = max(rest, 0.0) / freedom
    found = [
        _of_a_difference(name, squares[name] / (n - 1), n - 1, error, freedom, len(x) // n, level)
        for name, n in sizes.items()
    ]
    return [replace(one, runs=len(x)) for one in found] + [
        replace(_of_a_sample(INTERACTIONS, error, freedom + 1, level), runs=len(x))
    ]


def of_examples(
    correct: Booleans, *, level: float = 0.95, resamples: int = 1_000, seed: int = 0
) -> Component:
    """Estimate the luck of the draw of N test examples, for the accuracy of a trained model.

    With one run it is that of a share, √(p(1 - p) / N). With R runs it is the standard error,
    over examples, of the accuracy that is common to runs: an example's mean over runs varies by
    how hard it is, and by how runs differ on it, of which the latter is taken off,
    (M(examples) - M(runs x examples)) / R, as in a cross of runs and examples. That part is in
    the runs' own spread already. The interval is a percentile bootstrap over examples.

    Args:
        correct: ``[R, N]``, whether each run is right on each example; ``[N]`` is one run.
        level: of the interval.
        resamples: how many test splits to draw.
        seed: of the draws.

    Raises:
        ValueError: answers of another shape or type, fewer than two examples, or ``level`` or
            ``resamples`` out of range.
    """
    check_level(level)
    check_resamples(resamples)
    right = np.atleast_2d(correct)
    if right.dtype != np.bool_ or right.ndim != 2 or len(right) == 0 or right.shape[1] < 2:
        raise ValueError(
            f"answers of shape {right.shape} and type {right.dtype}; expected bool [R, N], "
            "N of at least 2"
        )
    # Few patterns of right and wrong over runs make many examples.
    patterns, counts = np.unique(right, axis=1, return_counts=True)
    n = right.shape[1]
    variance = float(_examples_variance(patterns, counts[None])[0])
    rng = np.random.default_rng(seed)
    draws = np.concatenate(
        [
            _examples_variance(patterns, rng.multinomial(n, counts / n, size=size))
            for size in _parts(resamples, 1 + 10_000_000 // len(counts))
        ]
    )
    return Component(
        name=EXAMPLES,
        deviation=sqrt(max(variance, 0.0)),
        interval=quantile_interval(np.sqrt(np.maximum(draws, 0.0)), level),
        runs=len(right),
        truncated=variance < 0,
    )


def _examples_variance(patterns: Booleans, counts: npt.NDArray[np.int64]) -> Floats:
    """Variance of the common accuracy over test splits ``[B, U]``, of U patterns of R runs."""
    r, n = len(patterns), int(counts[0].sum())
    share = patterns.mean(axis=0)
    mean = counts @ share / n
    between = (counts @ share**2 - n * mean**2) / (n - 1)
    if r == 1:
        return np.asarray(between / n)
    of_runs = counts @ patterns.T / n
    runs = n * np.square(of_runs - mean[:, None]).sum(axis=1)
    within = r * (counts @ (share * (1 - share))) - runs
    return np.asarray((between - within / ((r - 1) * (n - 1)) / r) / n)


def _parts(total: int, most: int) -> list[int]:
    return [min(most, total - start) for start in range(0, total, most)]


def _checked(
    values: Sequence[float] | Floats, levels: Levels
) -> tuple[npt.NDArray[np.float64], dict[str, list[Hashable]]]:
    x = as_values(values)
    factors = {name: list(column) for name, column in levels.items()}
    if not factors:
        raise ValueError("levels of no factor; expected at least one")
    for name, column in factors.items():
        if len(column) != len(x):
            raise ValueError(f"{len(column)} levels of {name} for {len(x)} runs")
    return x, factors


def _of_a_sample(name: str, variance: float, n: int, level: float) -> Component:
    """Component of a sample variance of n values, with its chi-square interval."""
    # The upper tail's quantile, by which the lower end is found, and the lower tail's.
    tails = special.chdtri(n - 1, [(1 - level) / 2, (1 + level) / 2])
    low, high = np.sqrt((n - 1) * variance / tails)
    return Component(name, sqrt(variance), Interval(float(low), float(high)), n)


def _of_a_difference(
    name: str, square: float, n: int, error: float, m: int, times: int, level: float
) -> Component:
    """Component of (square - error) / times, mean squares with n and m degrees of freedom."""
    tail = (1 - level) / 2
    upper, lower = (special.fdtri(n, m, q) for q in (1 - tail, tail))
    g1, h2 = 1 - n / special.chdtri(n, tail), m / special.chdtri(m, 1 - tail) - 1
    h1, g2 = n / special.chdtri(n, 1 - tail) - 1, 1 - m / special.chdtri(m, tail)
    g12 = ((upper - 1) ** 2 - (g1 * upper) ** 2 - h2**2) / upper
    h12 = ((1 - lower) ** 2 - (h1 * lower) ** 2 - g2**2) / lower
    below = (g1 * square) ** 2 + (h2 * error) ** 2 + g12 * square * error
    above = (h1 * square) ** 2 + (g2 * error) ** 2 + h12 * square * error
    middle = square - error
    ends = (middle - sqrt(max(below, 0.0)), middle + sqrt(max(above, 0.0)))
    low, high = (sqrt(max(end, 0.0) / times) for end in ends)
    deviation = sqrt(max(middle, 0.0) / times)
    return Component(name, deviation, Interval(low, high), times * (n + 1), middle < 0)
