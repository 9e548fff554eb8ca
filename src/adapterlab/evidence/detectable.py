"""What a study could have seen: the smallest difference that its tests find often enough."""

from math import sqrt

import numpy as np
from scipy import special

from adapterlab.evidence.family import moderated, steadied
from adapterlab.evidence.intervals import check_level
from adapterlab.evidence.spread import Spread

_DRAWS = 2_000


def smallest_detectable(
    spread: Spread, a: int, b: int, *, critical: float, power: float = 0.8, seed: int = 0
) -> float:
    """Return the true difference that a study like this one would find ``power`` of the time.

    The errors of this study are themselves estimates, from a few runs: taking them for the truth
    promises 80 finds in 100 and keeps 60 to 78. So the true variances are drawn from what this
    study's say of them (scaled inverse chi-squares around the steadied variances, see
    `family.moderated`), those of the other study from them, and the power is the mean over both:
    a prediction that holds on average over studies, of arms whose runs vary alike (simulated, 81
    to 94 in 100 are found; of an arm that varies three times as much, over 3 runs, 64).

    Args:
        spread: of the arms.
        a: place of one of the two that are compared.
        b: of the other.
        critical: what the p-value of a pair must be below, see `family.AllPairs.critical`.
        power: how often the difference is to be found, above ``critical``, below 1.
        seed: of the draws.

    Returns:
        A difference in the unit of the scores, above 0.

    Raises:
        ValueError: ``critical`` or ``power`` out of range, or an arm of one run.
    """
    check_level(critical)
    if not critical < power < 1:
        raise ValueError(f"power is {power}; expected above {critical} and below 1")
    freedom = spread.freedom
    if not (freedom >= 1).all():
        raise ValueError("an arm of one run has no spread; expected at least 2 runs an arm")
    rng = np.random.default_rng(seed)
    size = (_DRAWS, len(freedom))
    steady = np.maximum(moderated(spread.runs, freedom), spread.joint)
    known = steadied(freedom)
    true = steady * known / rng.chisquare(known, size)
    seen = moderated(true * rng.chisquare(freedom, size) / freedom, freedom)[:, [a, b]]
    spare = float(spread.joint[a] + spread.joint[b])
    examples = float(spread.differences[a, b])
    deviation = np.sqrt(examples + np.maximum(true[:, a] + true[:, b] - spare, 0))
    variance = examples + np.maximum(seen.sum(axis=1) - spare, 0)
    own = known[[a, b]]
    spent = np.maximum((np.square(seen) / own).sum(axis=1), np.finfo(float).tiny)
    with np.errstate(over="ignore"):  # runs that all agree: infinite, and cut
        df = np.square(variance) / spent
    df = np.clip(df, own.min(), 1e9)
    threshold = special.stdtrit(df, 1 - critical / 2) * np.sqrt(variance) / deviation

    def missing(difference: float) -> float:
        shift = difference / deviation
        found = special.ndtr(shift - threshold) + special.ndtr(-shift - threshold)
        return power - float(found.mean())

    high = sqrt(examples)
    while missing(high) > 0:
        high *= 2
    from scipy import optimize  # which studies of one seed do without

    return float(optimize.brentq(missing, 0.0, high, xtol=1e-6 * high))
