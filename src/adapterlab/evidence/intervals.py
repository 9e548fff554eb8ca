"""Intervals of a mean over a few values: an arm's scores, one a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import special

from adapterlab.evidence.arrays import Floats


@dataclass(frozen=True)
class Interval:
    """A range of values, ``low`` to ``high``, in the unit of the values it was computed from."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between the ends: the ± of an interval around its middle."""
        return (self.high - self.low) / 2


def mean_and_deviation(values: Sequence[float] | Floats) -> tuple[float, float | None]:
    """Mean and sample standard deviation (divisor n - 1) of at least one value.

    Returns:
        The mean, and the deviation; None for the deviation of a single value.

    Raises:
        ValueError: no values, values not in one row, or one that is not finite.
    """
    x = as_values(values)
    return float(x.mean()), float(x.std(ddof=1)) if len(x) > 1 else None


def t_interval(values: Sequence[float] | Floats, *, level: float = 0.95) -> Interval | None:
    """Interval of the mean of normal values: Student, 1908, "The probable error of a mean".

    mean ± t · s / √n, where t is the (1 + level) / 2 quantile of Student's t with n - 1 degrees
    of freedom. It holds the true mean ``level`` of the time at every n, three seeds included,
    if the values are normal.

    Args:
        values: ``[n]``, all finite.
        level: how often such intervals hold the true mean, between 0 and 1.

    Returns:
        The interval; None with fewer than 2 values, which show no spread.

    Raises:
        ValueError: as `mean_and_deviation`, or a ``level`` outside its range.
    """
    check_level(level)
    mean, deviation = mean_and_deviation(values)
    if deviation is None:
        return None
    n = len(values)
    return t_around(mean, deviation / sqrt(n), n - 1, level=level)


def median_interval(values: Sequence[float] | Floats, *, level: float = 0.95) -> Interval | None:
    """Interval of a median that assumes nothing of the values but that they are independent.

    From the k-th smallest value to the k-th largest, k as large as the level allows: the median
    is below the k-th smallest only if fewer than k of n values are below it, of which each is with
    probability 1/2 (the sign test; Conover, 1999, chapter 3.2).

    Args:
        values: ``[n]``, all finite.
        level: how often such intervals hold the median, at least.

    Returns:
        The interval; None with too few values, of which even the smallest and the largest do not
        hold it so often (95% takes 6).

    Raises:
        ValueError: as `mean_and_deviation`, or a ``level`` outside its range.
    """
    check_level(level)
    x = np.sort(as_values(values))
    n = len(x)
    beyond = np.array([2 * special.bdtr(k - 1, n, 0.5) for k in range(1, n // 2 + 1)])
    most = int((beyond <= 1 - level + 1e-12).sum())
    return Interval(float(x[most - 1]), float(x[n - most])) if most else None


def t_around(centre: float, error: float, freedom: float, *, level: float) -> Interval:
    """Student's interval of a given centre, standard error and degrees of freedom."""
    reach = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    return Interval(centre - reach, centre + reach)


def quantile_interval(draws: Floats, level: float) -> Interval:
    """Range that holds the middle ``level`` of ``draws``."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def as_values(values: Sequence[float] | Floats) -> npt.NDArray[np.float64]:
    """Values ``[n]`` in float64, n at least 1, all finite; a ValueError for anything else."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"values of shape {x.shape}; expected [n] with n of at least 1")
    if not np.isfinite(x).all():
        raise ValueError(f"values hold {x[~np.isfinite(x)][0]}; expected finite numbers")
    return x


def check_level(level: float) -> None:
    """Refuse a level that is not between 0 and 1 by a ValueError."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected above 0, below 1")


def check_resamples(resamples: int) -> None:
    """Refuse fewer than one resample by a ValueError."""
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; expected at least 1")
