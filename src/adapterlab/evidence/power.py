"""What a study could have seen: the smallest difference that its tests find often enough."""

from math import hypot, sqrt

import numpy as np
from scipy import special

from adapterlab.evidence.intervals import check_level

# Equal slices of the chi-square distribution; 2,000 leave an error of the power below 1e-5.
_SLICES = (np.arange(2000) + 0.5) / 2000


def smallest_detectable_difference(
    deviation: float, n: int, *, level: float = 0.05, power: float = 0.8
) -> float | None:
    """Smallest true mean difference that a paired t-test over seeds finds: Cohen, 1988, chapter 2.

    Args:
        deviation: sample deviation of the n differences, from 0.
        n: the number of pairs.
        level: of the two-sided test.
        power: how often the test is to find the difference, above ``level``, below 1.

    Returns:
        A difference in the unit of ``deviation``; None with fewer than 2 pairs.

    Raises:
        ValueError: an argument outside its range.
    """
    if n < 2:
        return None
    return smallest_detectable_shift(deviation / sqrt(n), n - 1, level=level, power=power)


def smallest_detectable_shift(
    seeds_error: float,
    freedom: float,
    *,
    examples_error: float = 0.0,
    level: float = 0.05,
    power: float = 0.8,
) -> float:
    """Smallest true difference that passes the tests over seeds, over examples, and over both.

    The observed difference D is normal around the true one, with both errors. It counts if
    |D| > t · s, where s is the estimate of the seeds' error (a scaled chi variable),
    |D| > z · e, where e is the examples' error, and |D| > t' · √(s² + e²), see `crossed_p`.
    Without an error over examples, the power is that of the t-test, by the noncentral t
    distribution.

    Args:
        seeds_error: standard error of the difference over seeds, from 0.
        freedom: its degrees of freedom, above 0.
        examples_error: standard error of the difference over test examples, from 0.
        level: of all tests, two-sided.
        power: how often all are to find the difference, above ``level``, below 1.

    Returns:
        A difference in the unit of the errors; 0 if both are 0.

    Raises:
        ValueError: an argument outside its range.
    """
    check_level(level)
    if not level < power < 1:
        raise ValueError(f"power is {power}; expected above the level, {level}, and below 1")
    if not (0 <= seeds_error < np.inf and 0 <= examples_error < np.inf and freedom > 0):
        raise ValueError(
            f"errors of {seeds_error} and {examples_error} with {freedom} degrees of freedom; "
            "expected errors from 0, degrees above 0"
        )
    total = hypot(seeds_error, examples_error)
    if total == 0:
        return 0.0
    e = examples_error / total
    # Middles of equal slices of the distribution of s, by which normal turns into noncentral t.
    s = seeds_error / total * np.sqrt(special.chdtri(freedom, _SLICES) / freedom)
    over_seeds = special.stdtrit(freedom, 1 - level / 2) * s
    over_examples = special.ndtri(1 - level / 2) * e
    if seeds_error:
        over_both = np.hypot(s, e) * special.stdtrit(
            freedom * ((s**2 + e**2) / s**2) ** 2, 1 - level / 2
        )
    else:
        over_both = over_examples
    thresholds = np.maximum(np.maximum(over_seeds, over_examples), over_both)

    def missing_power(shift: float) -> float:
        found = special.ndtr(shift - thresholds) + special.ndtr(-shift - thresholds)
        return power - float(found.mean())

    high = 1.0
    while missing_power(high) > 0:
        high *= 2
    from scipy import optimize  # which studies of one seed do without

    return total * float(optimize.brentq(missing_power, 0.0, high, xtol=1e-9))
