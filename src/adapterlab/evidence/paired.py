"""Tests of two classifiers against each other: over test examples, and over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, sqrt

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
    t_around,
)


@dataclass(frozen=True)
class McNemar:
    """What two classifiers disagree on.

    Attributes:
        only_a: how many examples A alone gets right.
        only_b: how many B alone gets right.
        p: how often a split at least this uneven would come of a fair coin.
    """

    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True)
class PairedBootstrap:
    """Difference of two classifiers' accuracy, as it would vary over other test examples.

    Attributes:
        difference: accuracy of A minus accuracy of B, each the mean over its seeds.
        interval: of the difference, over test examples; the seeds are taken as they are.
        standard_error: of the difference, over test examples.
        p: two-sided, above 0.
    """

    difference: float
    interval: Interval
    standard_error: float
    p: float


@dataclass(frozen=True)
class PairedT:
    """Mean difference of values paired by seed.

    Attributes:
        difference: mean of a - b.
        deviation: sample deviation of the differences; None with 1 pair.
        interval: of the mean difference, over seeds; None with 1 pair.
        p: two-sided; None with 1 pair.
        effect: Cohen's d_z, difference / deviation; None with 1 pair or a deviation of 0.
        n: the number of pairs.
    """

    difference: float
    deviation: float | None
    interval: Interval | None
    p: float | None
    effect: float | None
    n: int

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean difference; None with 1 pair."""
        return None if self.deviation is None else self.deviation / sqrt(self.n)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the standard error."""
        return self.n - 1


@dataclass(frozen=True)
class WelchT:
    """Difference of the means of values that are not paired.

    Attributes:
        difference: mean of a minus mean of b.
        standard_error: of the difference; None, as all below, if a or b is a single value.
        freedom: degrees of freedom of the standard error (Welch-Satterthwaite).
        interval: of the difference, over seeds.
        p: two-sided.
        effect: Cohen's d, difference / √((s_a² + s_b²) / 2); None if both deviations are 0.
    """

    difference: float
    standard_error: float | None
    freedom: float | None
    interval: Interval | None
    p: float | None
    effect: float | None


def mcnemar(correct_a: Booleans, correct_b: Booleans) -> McNemar:
    """Test two classifiers on the same examples: McNemar, 1947; for classifiers, Dietterich, 1998.

    The exact two-sided binomial test of the examples that just one of them gets right. It speaks
    of two trained models, so of one seed; it says nothing about another training.

    Args:
        correct_a: ``[N]``, whether A is right.
        correct_b: ``[N]``, likewise, of the same examples in the same order.

    Returns:
        The counts and p; p is 1 if they never disagree.

    Raises:
        ValueError: shapes or types that do not fit.
    """
    if correct_a.ndim != 1:
        raise ValueError(f"answers of shape {correct_a.shape}; expected [N], those of one seed")
    a, b = _seeds_by_examples(correct_a, correct_b)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    lesser_tail = float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return McNemar(only_a, only_b, min(1.0, 2 * lesser_tail))


def paired_bootstrap(
    correct_a: Booleans,
    correct_b: Booleans,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedBootstrap:
    """Resample the test examples under both classifiers: Efron & Tibshirani, 1993, chapter 16.

    The p-value is twice the share of resampled differences on the far side of zero, ties counted
    half and one added to count and resamples, at most 1. It is too small where the classifiers
    differ on about ten examples or fewer, which then stand for all that could have differed;
    `paired_permutation` is not.

    Few distinct values make it fast and change nothing: an example contributes k / (S_a · S_b)
    with a whole k, so that drawing how often each k comes up, by a multinomial, is drawing the
    examples. Whole numbers also make ties with zero exact.

    Args:
        correct_a: ``[S_a, N]``, whether A is right, by seed and example; ``[N]`` is one seed.
        correct_b: ``[S_b, N]``, of the same examples in the same order; S_b may differ from S_a.
        level: of the interval, the percentile one.
        resamples: how many test sets to draw.
        seed: of the draws; the same seed gives the same result.

    Raises:
        ValueError: shapes or types that do not fit, ``level`` or ``resamples`` out of range.
    """
    check_level(level)
    check_resamples(resamples)
    numerators, denominator = _differences(correct_a, correct_b)
    n = len(numerators)
    unit = denominator * n
    values, counts = np.unique(numerators, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples) @ values

    below, above = int((draws < 0).sum()), int((draws > 0).sum())
    far_side = min(below, above) + (resamples - below - above) / 2
    spread = sqrt(float(values**2 @ counts) / n - (float(values @ counts) / n) ** 2)
    return PairedBootstrap(
        difference=int(numerators.sum()) / unit,
        interval=quantile_interval(draws / unit, level),
        standard_error=spread * sqrt(n) / unit,
        p=min(1.0, 2 * (1 + far_side) / (resamples + 1)),
    )


def paired_permutation(
    correct_a: Booleans, correct_b: Booleans, *, resamples: int = 10_000, seed: int = 0
) -> float:
    """Exchange the classifiers' answers at random, example by example: Fisher, 1935, chapter 3.

    Known as approximate randomization (Noreen, 1989). If A and B are equally good on every
    example, which of them an example favours is a fair coin's choice; p is the share of such
    choices with a mean difference at least as large as the observed one, one added to count and
    resamples. With one seed this is `mcnemar`, up to the draws; it holds however few examples
    differ.

    Args:
        correct_a: ``[S_a, N]``, whether A is right, by seed and example; ``[N]`` is one seed.
        correct_b: ``[S_b, N]``, of the same examples in the same order; S_b may differ from S_a.
        resamples: how many exchanges to draw.
        seed: of the draws; the same seed gives the same result.

    Returns:
        The two-sided p-value, above 0.

    Raises:
        ValueError: shapes or types that do not fit, or ``resamples`` out of range.
    """
    check_resamples(resamples)
    numerators, _ = _differences(correct_a, correct_b)
    # Of c examples that count k, a binomial number favours A, and the rest B.
    sizes, counts = np.unique(np.abs(numerators), return_counts=True)
    favours_a = np.random.default_rng(seed).binomial(counts, 0.5, size=(resamples, len(counts)))
    draws = (2 * favours_a - counts) @ sizes
    extreme = int((np.abs(draws) >= abs(int(numerators.sum()))).sum())
    return (1 + extreme) / (resamples + 1)


def paired_t(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, *, level: float = 0.95
) -> PairedT:
    """Paired t-test over seeds: Student, 1908.

    If all differences are equal up to float rounding, the deviation is 0 and t has no spread to
    measure by: p is then its limit, 1 for a difference of 0, else 0. That is no proof. It says
    that seeds did not change the difference, and leaves it to the test over examples.

    Args:
        a: ``[n]``, a value a seed.
        b: ``[n]``, of the same seeds in the same order.
        level: of the interval.

    Raises:
        ValueError: lengths that differ, no values, or one that is not finite.
    """
    check_level(level)
    x, y = as_values(a), as_values(b)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values for {len(y)}; expected pairs")
    differences = x - y
    n = len(differences)
    difference = _without_rounding(float(differences.mean()), x, y)
    if n < 2:
        return PairedT(difference, None, None, None, None, n)
    deviation = _without_rounding(float(differences.std(ddof=1)), x, y)
    error = deviation / sqrt(n)
    return PairedT(
        difference=difference,
        deviation=deviation,
        interval=t_around(difference, error, n - 1, level=level),
        p=_p_of_t(difference, error, n - 1),
        effect=difference / deviation if deviation else None,
        n=n,
    )


def welch_t(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, *, level: float = 0.95
) -> WelchT:
    """t-test of two means with unequal deviations: Welch, 1947, for seeds that are not shared.

    Deviations of 0 in both are handled as in `paired_t`.

    Args:
        a: ``[n]``, a value a seed.
        b: ``[m]``, likewise, of other seeds.
        level: of the interval.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    check_level(level)
    x, y = as_values(a), as_values(b)
    difference = _without_rounding(float(x.mean() - y.mean()), x, y)
    if min(len(x), len(y)) < 2:
        return WelchT(difference, None, None, None, None, None)
    s_x, s_y = (_without_rounding(float(one.std(ddof=1)), x, y) for one in (x, y))
    u, v = s_x**2 / len(x), s_y**2 / len(y)
    error = sqrt(u + v)
    # Without spread, the degrees of freedom are 0 / 0; any number of them gives the same p.
    freedom = (
        (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
        if error
        else float(len(x) + len(y) - 2)
    )
    return WelchT(
        difference=difference,
        standard_error=error,
        freedom=freedom,
        interval=t_around(difference, error, freedom, level=level),
        p=_p_of_t(difference, error, freedom),
        effect=difference / sqrt((s_x**2 + s_y**2) / 2) if error else None,
    )


def _p_of_t(difference: float, error: float, freedom: float) -> float:
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return 2 * float(special.stdtr(freedom, -abs(difference) / error))


def _without_rounding(figure: float, x: Floats, y: Floats) -> float:
    # 0.9 - 0.8 and 0.7 - 0.6 differ by 1e-16, which would pass for a spread of that size.
    scale = max(float(np.abs(x).max()), float(np.abs(y).max()))
    return 0.0 if abs(figure) <= 1e-12 * scale else figure


def _differences(correct_a: Booleans, correct_b: Booleans) -> tuple[npt.NDArray[np.int64], int]:
    """Mean over A's seeds minus mean over B's, by example: numerators and their denominator."""
    a, b = _seeds_by_examples(correct_a, correct_b)
    common = gcd(len(a), len(b))
    times_a, times_b = len(b) // common, len(a) // common
    right_a, right_b = (one.sum(axis=0, dtype=np.int64) for one in (a, b))
    return right_a * times_a - right_b * times_b, len(a) * times_a


def _seeds_by_examples(
    correct_a: Booleans, correct_b: Booleans
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    a, b = np.atleast_2d(correct_a), np.atleast_2d(correct_b)
    for one in (a, b):
        if one.dtype != np.bool_ or one.ndim != 2 or one.size == 0:
            raise ValueError(
                f"answers of shape {one.shape} and type {one.dtype}; expected bool [seeds, N]"
            )
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} examples for {b.shape[1]}; expected the same ones")
    return a, b
