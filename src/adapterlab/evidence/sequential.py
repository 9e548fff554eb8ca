"""Looking at a study before it is over, as often as one likes, at one level for all looks.

Where each of six looks is a test at 5%, one study in six finds a difference that is not there. An
error-spending test (Lan & DeMets, 1983, "Discrete sequential boundaries for clinical trials") gives
every look a smaller level of its own, so that all looks together keep 5%. The level depends on how
much of the planned information a look has, not on how many looks will follow, so looks need not be
planned, only the most seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, e, inf, log1p, sqrt

import numpy as np
from scipy import special

from adapterlab.evidence.intervals import check_level

Spending = Callable[[float, float], float]
"""How much of a level is spent at a fraction of the information, from 0 to 1."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_FARTHEST = 37.0
"""A normal value beyond this has no probability in float64."""


def obrien_fleming(fraction: float, level: float) -> float:
    """Spend little at first: Lan & DeMets, 1983, their α₁*, whose bounds are O'Brien & Fleming's.

    4 · (1 - Φ(z / √t)) for both sides together, where z is the upper level / 4 quantile. The last
    look is tested almost at the whole level.
    """
    return 4 * float(special.ndtr(special.ndtri(level / 4) / sqrt(fraction)))


def pocock(fraction: float, level: float) -> float:
    """Spend steadily: Lan & DeMets, 1983, their α₂*, whose bounds are almost Pocock's.

    level · ln(1 + (e - 1) · t). Early looks can find something, and the last one pays for it.
    """
    return level * log1p((e - 1) * fraction)


@dataclass(frozen=True)
class Boundary:
    """One look's share of an error-spending test.

    Attributes:
        fraction: of the planned information that the look has.
        z: a difference counts from this on; infinite where there is nothing to spend.
        level: the same as a two-sided nominal level: what a test at this look may use.
        spent: of the study's level, this look included.
    """

    fraction: float
    z: float
    level: float
    spent: float


def boundaries(
    fractions: Sequence[float], *, level: float = 0.05, spending: Spending = pocock
) -> list[Boundary]:
    """Bounds of a two-sided test at each look, by the recursion of Armitage et al., 1969.

    The estimates at the looks are normal, and what one look adds to the information of the look
    before is independent of it, as with means over more and more seeds. Where estimates of two
    looks have more in common than that, the test examples say, the bounds are safe: they are
    crossed less often.

    Args:
        fractions: of the planned information at each look, growing, above 0 and at most 1.
        level: of all looks together.
        spending: how much of the level is spent at a fraction.

    Raises:
        ValueError: an argument outside its range.
    """
    check_level(level)
    if any(fraction > 1 for fraction in fractions):
        raise ValueError(f"fractions are {list(fractions)}; expected at most 1")
    return _bounds(fractions, [spending(fraction, level) for fraction in fractions])


def crossing(fractions: Sequence[float], z: Sequence[float]) -> list[float]:
    """How often a study without a difference first passes a bound at each look.

    Args:
        fractions: the information at each look, growing, in any unit.
        z: bound of each look.

    Raises:
        ValueError: fractions that do not grow, or as many bounds as there are no looks.
    """
    _check_growing(fractions)
    if len(z) != len(fractions):
        raise ValueError(f"{len(z)} bounds for {len(fractions)} looks; expected one a look")
    walk, found = _Walk(fractions), []
    for bound in z:
        walk.step()
        found.append(walk.beyond(bound))
        walk.keep(bound)
    return found


def levels(
    looks: Sequence[int],
    most: int,
    level: float = 0.05,
    *,
    arms: int = 2,
    spending: Spending = pocock,
) -> list[float]:
    """The nominal level of a family-wise test of all pairs at each look of a study.

    What is spent goes by n / ``most``. The looks' own time is n - 1, the degrees of freedom: from
    few seeds, a t has less in common with itself at the look before than a normal z has. By n, two
    arms that are tested after every seed from 3 to 10 had 5.5% false studies; by n - 1, 5.1%. Where
    test examples make a part of the error, looks have more in common, and the levels are safe.

    With many pairs the looks have less in common than with one: at each look another pair may be
    the most extreme. Each of the M pairs therefore spends level / M, and the family's level at a
    look is M times a pair's. That is Bonferroni's correction over looks only: how the family
    corrects over pairs, and how much it gains there, is up to its own test.

    Looks beyond ``most`` are not refused, since seeds can always be added. Their level is not
    part of the plan: the first one of them spends half of ``level`` on top, the next a quarter, so
    that all looks together stay below twice the level, however many there are. A study without a
    plan is one whose first look was the plan.

    Args:
        looks: seeds an arm at each look that has been made, growing, 2 or more, the present
            one last.
        most: seeds an arm at which the whole level is to be spent.
        level: of the whole study.
        arms: in the family, at least 2.
        spending: how much of the level is spent at a fraction of ``most``.

    Raises:
        ValueError: an argument outside its range.
    """
    check_level(level)
    if min(most, arms, *looks) < 2:
        raise ValueError(
            f"looks {list(looks)}, most {most}, arms {arms}; expected at least 2 of each"
        )
    spent = spent_at(looks, most, level, spending=spending)
    return levels_spending([look - 1 for look in looks], spent, arms)


def levels_spending(times: Sequence[float], spent: Sequence[float], arms: int) -> list[float]:
    """Return the level of all pairs of arms together at each look, of which each has as much.

    Args:
        times: information at each look, growing, in any unit.
        spent: how likely any false difference may be up to each look.
        arms: in the family, at least 2.
    """
    pairs = arms * (arms - 1) // 2
    bounds = _bounds(times, [share / pairs for share in spent])
    return [bound.level * pairs for bound in bounds]


def spent_at(
    looks: Sequence[int], most: int, level: float = 0.05, *, spending: Spending = pocock
) -> list[float]:
    """How likely any false difference is in the looks up to each one: what `levels` spends."""
    return spent_of(looks, [look > most for look in looks], most, level, spending=spending)


def spent_of(
    looks: Sequence[int],
    beyond: Sequence[bool],
    most: int,
    level: float,
    *,
    spending: Spending,
) -> list[float]:
    """Return what is spent up to each look, of which some are beyond the plan."""
    planned = [spending(min(look / most, 1.0), level) for look in looks]
    # A plan that ended before `most` has the rest of its level left.
    return [share + level * (1 - 0.5 ** sum(beyond[: n + 1])) for n, share in enumerate(planned)]


def _check_growing(fractions: Sequence[float]) -> None:
    steps = np.diff([0.0, *fractions])
    if not len(fractions) or not (np.isfinite(steps) & (steps > 0)).all():
        raise ValueError(f"looks at {list(fractions)}; expected growing numbers above 0")


def _bounds(fractions: Sequence[float], spent: Sequence[float]) -> list[Boundary]:
    """Return the bounds by which the cumulative probabilities ``spent`` are reached."""
    _check_growing(fractions)
    walk, before = _Walk(fractions), 0.0
    found: list[Boundary] = []
    for fraction, total in zip(fractions, spent, strict=True):
        walk.step()
        z = walk.bound(total - before)
        walk.keep(z)
        # The first look's level is what it spends, without the search's last digits.
        nominal = 2 * float(special.ndtr(-z)) if found else total
        found.append(Boundary(fraction, z, nominal, total))
        before = total
    return found


class _Walk:
    """A Brownian motion at its looks, of which only what has stayed within the bounds goes on.

    Its probability is kept on nodes of Gauss-Legendre panels, no wider than two deviations of
    the smallest step, which leaves errors below 1e-9.

    Args:
        fractions: times of the looks.
    """

    def __init__(self, fractions: Sequence[float]) -> None:
        self._times = iter(fractions)
        self._panel = 2 * sqrt(min(np.diff([0.0, *fractions])))
        self._time = 0.0
        self._places, self._mass = np.zeros(1), np.ones(1)

    def step(self) -> None:
        """Go on to the next look."""
        time = next(self._times)
        self._deviation, self._time = sqrt(time - self._time), time

    def beyond(self, z: float) -> float:
        """How likely it is now, for the first time, outside of -z to z."""
        bound = z * sqrt(self._time)
        above = special.ndtr((self._places - bound) / self._deviation)
        below = special.ndtr((-bound - self._places) / self._deviation)
        return float(self._mass @ (above + below))

    def bound(self, share: float) -> float:
        """Return the z outside of which it is now with a probability; infinite for none."""
        if share <= self.beyond(_FARTHEST):
            return inf
        if share >= self.beyond(0.0):
            return 0.0
        from scipy import optimize  # which a study that was looked at once does without

        return float(optimize.brentq(lambda z: self.beyond(z) - share, 0, _FARTHEST, xtol=1e-10))

    def keep(self, z: float) -> None:
        """Go on with what is within -z to z."""
        bound = min(z, 10.0) * sqrt(self._time)
        if bound == 0:
            self._places, self._mass = np.zeros(1), np.zeros(1)
            return
        count = ceil(2 * bound / self._panel)
        half = bound / count
        middles = -bound + half * (2 * np.arange(count) + 1)
        places = (middles[:, None] + half * _NODES).ravel()
        weights = np.tile(half * _WEIGHTS, count)
        steps = (places[:, None] - self._places) / self._deviation
        density = np.exp(-np.square(steps) / 2) @ self._mass / (self._deviation * sqrt(2 * np.pi))
        self._places, self._mass = places, weights * density
