"""What tuning was worth: the best of so many tries, one shared setting, the picked value's lead."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import fmean, stdev

Score = float | None
"""A validation metric; None where a setting failed."""


@dataclass(frozen=True)
class ExpectedBest:
    """The best of n settings that are taken at random from those that were tried.

    Attributes:
        n: settings taken.
        mean: expected best score; None if all n may be settings that failed.
        low: the worse end of the range of the best; None if that is a failure.
        high: the better end of the range; None if that is a failure.
    """

    n: int
    mean: Score
    low: Score
    high: Score


@dataclass(frozen=True)
class SharedRegret:
    """What arms lose if all are run with one setting.

    Attributes:
        means: for every setting the mean over arms of (the arm's best - its score there), from 0;
            None where an arm failed.
        place: the setting with the least, the first of equal ones; None if every one has failed
            for some arm.
    """

    means: tuple[Score, ...]
    place: int | None


@dataclass(frozen=True)
class Lead:
    """By how much the picked setting is ahead of another.

    Attributes:
        difference: of the means over tuning seeds, above 0 where the picked one is better.
        noise: standard error of the difference over the seeds; None with fewer than 2.
    """

    difference: float
    noise: float | None

    @property
    def clear(self) -> bool | None:
        """Whether there is one, of at least twice its noise; None if the noise is not known."""
        return (
            None
            if self.noise is None
            else self.difference >= 2 * self.noise and self.difference > 0
        )


def best(scores: Sequence[Score], *, minimize: bool) -> int | None:
    """Return the place of the best score, the first of equal ones; None if there is none."""
    sign = 1 if minimize else -1
    places = [(sign * score, place) for place, score in enumerate(scores) if score is not None]
    return min(places)[1] if places else None


def expected_best(
    scores: Sequence[Score], *, minimize: bool = False, share: float = 0.8
) -> tuple[ExpectedBest, ...]:
    """Expected best validation score over the number of settings tried: Dodge et al. 2019.

    The paper ("Show Your Work", arXiv:1909.03004) draws the n settings with replacement from the
    N that were tried, which is biased (Tang et al. 2020, "Showing Your Work Doesn't Always Work",
    arXiv:2004.13705). Here n different ones are drawn, the unbiased estimator of the latter; it
    has the larger variance as an estimate for settings that were sampled from a space (Dodge et
    al. 2021, arXiv:2110.00613). A grid is no sample: without replacement the curve is no estimate
    but a fact about this grid, the mean over all orders in which it could have been tried, and it
    ends at the best of all N. With scores x_1 to x_N from worst to best, x_i is the best of n in
    C(i-1, n-1) of C(N, n) cases.

    A setting that failed is worse than any other.

    Args:
        scores: ``[N]``, one for each setting.
        minimize: whether the least is best.
        share: of the cases that lie within the range, (1 - share) / 2 at most beyond either end.

    Returns:
        ``[N]``, for n = 1 to N.

    Raises:
        ValueError: there are no scores, or ``share`` is not between 0 and 1.
    """
    if not scores:
        raise ValueError("no scores; expected one for each setting")
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; expected between 0 and 1")
    sign = -1 if minimize else 1
    finished = sorted(sign * score for score in scores if score is not None)
    failed, total = len(scores) - len(finished), len(scores)
    ascending: list[Score] = [None] * failed + [sign * score for score in finished]
    curve = []
    for n in range(1, total + 1):
        cases = [comb(i, n - 1) for i in range(total)]
        mean = None
        if n > failed:
            weighed = zip(cases[failed:], ascending[failed:], strict=True)
            mean = sum(count * (score or 0.0) for count, score in weighed) / comb(total, n)
        low = ascending[_quantile(cases, (1 - share) / 2)]
        high = ascending[_quantile(cases, (1 + share) / 2)]
        curve.append(ExpectedBest(n, mean, low, high))
    return tuple(curve)


def _quantile(cases: Sequence[int], share: float) -> int:
    """Return the first place up to which at least a share of the cases lie."""
    wanted, so_far = share * sum(cases), 0
    for place, count in enumerate(cases):
        so_far += count
        if count and so_far >= wanted - 1e-9 * sum(cases):
            return place
    return len(cases) - 1


def shared_regret(scores: Sequence[Sequence[Score]], *, minimize: bool = False) -> SharedRegret:
    """What one setting for all arms costs on validation, for every setting.

    An arm of which every setting failed has no best, and is left out.

    Args:
        scores: ``[arms][settings]``, the same settings for every arm.
        minimize: whether the least is best.

    Raises:
        ValueError: arms differ in the number of settings, or no arm has a score.
    """
    if len({len(row) for row in scores}) > 1:
        raise ValueError("arms differ in the number of settings")
    tops = [(row, best(row, minimize=minimize)) for row in scores]
    rows = [(row, row[place] or 0.0) for row, place in tops if place is not None]
    if not rows:
        raise ValueError("no arm has a score")
    sign = -1 if minimize else 1
    means: list[Score] = []
    for setting in range(len(rows[0][0])):
        losses = [sign * (top - value) for row, top in rows if (value := row[setting]) is not None]
        means.append(fmean(losses) if len(losses) == len(rows) else None)
    return SharedRegret(tuple(means), best(means, minimize=True))


def neighbours(settings: Sequence[Sequence[object]], place: int) -> list[int]:
    """Return the settings next to one: they differ in one option, and no number lies between.

    Values that are no numbers have no order: all others of that option are next to one.

    Args:
        settings: values by option, ``[settings][options]``.
        place: of the one.
    """
    own = settings[place]
    found = []
    for option, value in enumerate(own):
        alike = [
            other
            for other, values in enumerate(settings)
            if values[option] != value and _elsewhere(values, option) == _elsewhere(own, option)
        ]
        numbers = {n: v for n in alike if (v := _number(settings[n][option])) is not None}
        mine = _number(value)
        if mine is None:
            found += alike
            continue
        below = [n for n, v in numbers.items() if v < mine]
        above = [n for n, v in numbers.items() if v > mine]
        found += [max(below, key=numbers.__getitem__)] if below else []
        found += [min(above, key=numbers.__getitem__)] if above else []
        found += [n for n in alike if n not in numbers]
    return sorted(found)


def lead(picked: Sequence[float], other: Sequence[float], *, minimize: bool = False) -> Lead:
    """Return by how much one setting is ahead of another, and how much seeds move that.

    The seeds are the same for both, so their differences are taken seed by seed. This is no test:
    the picked setting was picked for being ahead.

    Args:
        picked: scores, one for each tuning seed.
        other: of the other setting, the same seeds in the same order.
        minimize: whether the least is best.

    Raises:
        ValueError: the numbers of scores differ, or there are none.
    """
    if len(picked) != len(other) or not picked:
        raise ValueError(f"{len(picked)} and {len(other)} scores; expected as many, at least 1")
    sign = -1 if minimize else 1
    differences = [sign * (a - b) for a, b in zip(picked, other, strict=True)]
    many = len(differences) > 1
    noise = stdev(differences) / sqrt(len(differences)) if many else None
    return Lead(fmean(differences), noise)


def _elsewhere(values: Sequence[object], option: int) -> list[object]:
    return [value for n, value in enumerate(values) if n != option]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
