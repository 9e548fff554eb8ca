"""The interval of an arm's accuracy over new seeds and new test examples at once."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import special

from adapterlab.evidence.arrays import Booleans, Floats
from adapterlab.evidence.intervals import Interval, check_level

FEW = 20
"""Deviating examples below which their spread is not trusted to say more than N examples do."""


@dataclass(frozen=True)
class ShareInterval:
    """An interval of a share, and what its width comes from; all from 0 to 1.

    Attributes:
        low: the lower end.
        high: the upper end, above `low`.
        mean: the observed share.
        seeds_error: the standard error over seeds; None with one seed, so that the interval is
            one over new test examples only, for this very seed.
        examples_error: the standard error over test examples.
        freedom: the degrees of freedom of `seeds_error`; None with one seed.
        examples: how many independent examples of one model would say as much: the effective
            sample size.
    """

    low: float
    high: float
    mean: float
    seeds_error: float | None
    examples_error: float
    freedom: int | None
    examples: float


def share_interval(correct: Booleans | Floats, level: float = 0.95) -> ShareInterval:
    """Interval of an accuracy over new seeds and new test examples.

    With the accuracies of seeds a_s and of examples b_e, and m the mean of all, the variance of m
    over both is s²(a) / S + s²(b) / N - s²(ab) / SN: the interaction of seeds and examples is in
    each of the first two, so one is taken off. A few seeds know their variance badly, and the
    examples theirs well, so each standard error counts with its own quantile of Student's t (Howe,
    1974, "Approximate confidence limits on the mean of X + Y where X and Y are two tabled
    independent random variables"). What that widened variance is worth in independent examples,
    m(1 - m) / variance, takes the place of N in the exact binomial interval (Korn & Graubard,
    1998, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data"). It lies within 0 to 1 and is never empty.

    One seed gives the interval of Clopper & Pearson (1934). So do seeds that agree on every
    example. Where fewer than `FEW` examples are other than always right (or than always wrong),
    answers of several seeds are taken to be worth no more than N.

    Simulated (scripts/simulations/shares.py), 95% intervals hold the true share 93% to 98% of the
    time, up to 99% at 3 seeds, and nearer 100% where few examples are wrong. The exception are
    seeds whose own accuracies spread over points near 100%, the worst of them rare: a few seeds
    do not show those, and at a standard deviation of 4 points around 97% it is 89% to 93%.

    Args:
        correct: ``[S, N]``, whether each seed's answer to each example is right; or numbers from
            0 to 1.
        level: how often such intervals hold the true share, between 0 and 1. For K intervals that
            hold together, 1 - (1 - level) / K.

    Returns:
        The interval.

    Raises:
        ValueError: another shape, no seeds or no examples, a number outside 0 to 1, or a ``level``
            outside its range.
    """
    check_level(level)
    y = _as_shares(correct)
    seeds, n = y.shape
    mean = min(1.0, float(y.mean()))
    by_seed, by_example = y.mean(axis=1), y.mean(axis=0)
    examples_variance = float(by_example.var() / n)
    if seeds == 1:
        seeds_variance = interaction = widened = 0.0
    else:
        seeds_variance = float(by_seed.var(ddof=1) / seeds)
        rest = y - by_seed[:, None] - by_example + mean
        interaction = float(np.square(rest).sum() / ((seeds - 1) * max(1, n - 1) * seeds * n))
        widened = seeds_variance * (_quantile(seeds - 1, level) / _quantile(n - 1, level)) ** 2
    variance = max(examples_variance, widened + examples_variance - interaction)
    worth = mean * (1 - mean) / variance if variance > 0 else float(n)
    if min(np.count_nonzero(by_example < 1), np.count_nonzero(by_example > 0)) < FEW:
        worth = min(worth, float(n))
    interval = clopper_pearson(mean, worth, level=level)
    return ShareInterval(
        low=interval.low,
        high=interval.high,
        mean=mean,
        seeds_error=sqrt(seeds_variance) if seeds > 1 else None,
        examples_error=sqrt(examples_variance),
        freedom=seeds - 1 if seeds > 1 else None,
        examples=worth,
    )


def clopper_pearson(share: float, examples: float, *, level: float = 0.95) -> Interval:
    """Exact interval of a binomial share: Clopper & Pearson, 1934.

    Args:
        share: that was observed, from 0 to 1.
        examples: how many it was observed on, above 0; need not be whole.
        level: how often such intervals hold the true share, at least.
    """
    tail = (1 - level) / 2
    right, wrong = share * examples, (1 - share) * examples
    low = float(special.betaincinv(right, wrong + 1, tail)) if right > 0 else 0.0
    high = float(special.betaincinv(right + 1, wrong, 1 - tail)) if wrong > 0 else 1.0
    return Interval(low, high)


def _quantile(freedom: int, level: float) -> float:
    return float(special.stdtrit(max(1, freedom), (1 + level) / 2))


def _as_shares(correct: Booleans | Floats) -> npt.NDArray[np.float64]:
    y = np.asarray(correct, dtype=np.float64)
    if y.ndim != 2 or y.size == 0:
        raise ValueError(f"answers of shape {y.shape}; expected [S, N] with S and N of at least 1")
    outside = y[~((y >= 0) & (y <= 1))]
    if outside.size:
        raise ValueError(f"answers hold {outside[0]}; expected numbers from 0 to 1")
    return y
