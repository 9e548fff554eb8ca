"""The best learning rate of several ways to train, and what one rate for all would cost each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Booleans, Floats
from adapterlab.evidence.intervals import Interval
from adapterlab.evidence.spread import paired_interval
from adapterlab.evidence.tuning import best, shared_regret

Answers = Callable[[int, int], Floats | Booleans]
"""By way and rate: what each run has on each test example, ``[S, N]``."""


@dataclass(frozen=True)
class BestRate:
    """What rate one way to train does best at, and what another costs it.

    Attributes:
        place: the rate with the best mean on validation, the first of equal ones.
        by_seed: likewise of each seed alone.
        cost: how much better the test scores are at a rate of its own than at the shared one, see
            `best_rates`; None if there is no shared one.
        interval: of that, over runs and test examples, simultaneous over all ways; None where
            both are one rate whatever seed is left out, so that nothing was compared.
    """

    place: int
    by_seed: tuple[int, ...]
    cost: float | None
    interval: Interval | None


@dataclass(frozen=True)
class BestRates:
    """The best rate of each way to train, and of all together.

    Attributes:
        shared: the rate at which ways lose least on validation on average; None if each has
            failed for some way.
        ways: one for each.
    """

    shared: int | None
    ways: tuple[BestRate, ...]


def best_rates(
    validation: Floats,
    test: Answers,
    *,
    level: float = 0.05,
    higher_is_better: bool = True,
) -> BestRates:
    """Compare a rate of its own with one for all, for each way to train.

    The run that is the best of several by luck is no better the next time (the winner's curse),
    and would make every rate of one's own look good. So each seed is tested at rates that were
    chosen without it, on validation: its test scores at the rate that is best for its way over the
    other seeds, less those at the rate that is best for all ways over the other seeds. The cost
    is the mean of these over seeds. It is below 0 where the shared choice, which more runs have
    been asked about, is the better one.

    The intervals hold at once for all ways (Bonferroni).

    Args:
        validation: ``[G, R, S]``, the metric that chooses by way, rate and seed, higher is better;
            nan where a run failed. A rate at which a run of a way failed is not chosen for it.
        test: asked for rates at which all runs of a way have finished; runs in the order of the
            seeds.
        level: share of studies in which an interval misses, at most.
        higher_is_better: of the test scores.

    Raises:
        ValueError: fewer than two ways, rates or seeds, or a way of which each rate has failed.
    """
    if validation.ndim != 3 or min(validation.shape) < 2:
        raise ValueError(
            f"validation has the shape {validation.shape}; expected [ways, rates, seeds], two of "
            "each at least"
        )
    ways, _, seeds = validation.shape
    failed = np.isnan(validation.sum(axis=2))
    if bool(failed.all(axis=1).any()):
        raise ValueError("a way to train has failed at each rate; expected none such")
    whole = np.where(np.expand_dims(failed, 2), np.nan, validation)
    own, shared = _chosen(whole)
    without = [_chosen(np.delete(whole, seed, axis=2)) for seed in range(seeds)]
    found = []
    for way in range(ways):
        pairs = [(one[way], other) for one, other in without]
        cost, interval = _cost(way, pairs, test, level / ways, higher_is_better=higher_is_better)
        found.append(
            BestRate(
                place=own[way],
                by_seed=tuple(int(np.nanargmax(validation[way, :, s])) for s in range(seeds)),
                cost=cost,
                interval=interval,
            )
        )
    return BestRates(shared, tuple(found))


def _chosen(validation: Floats) -> tuple[list[int], int | None]:
    """Return the best rate of each way, and of all together."""
    rows: list[list[float | None]] = [
        [None if np.isnan(mean) else float(mean) for mean in row] for row in validation.mean(axis=2)
    ]
    places = [best(row, minimize=False) for row in rows]
    return [0 if place is None else place for place in places], shared_regret(rows).place


def _cost(
    way: int,
    pairs: Sequence[tuple[int, int | None]],
    test: Answers,
    level: float,
    *,
    higher_is_better: bool,
) -> tuple[float | None, Interval | None]:
    """Return the cost of the shared rate, and its interval.

    Args:
        way: which.
        pairs: for each seed the rate that is the way's own, and the shared one.
        test: see `best_rates`.
        level: of the interval's misses.
        higher_is_better: of the test scores.
    """
    if any(shared is None for _, shared in pairs):
        return None, None
    if all(own == shared for own, shared in pairs):
        return 0.0, None
    rates = [_of_seeds(way, [pair[kind] or 0 for pair in pairs], test) for kind in (0, 1)]
    own, shared = rates if higher_is_better else rates[::-1]
    return float((own - shared).mean()), paired_interval(own, shared, 1 - level)


def _of_seeds(way: int, places: Sequence[int], test: Answers) -> npt.NDArray[np.float64]:
    """Return what each seed has on each test example, at a rate of its own, ``[S, N]``."""
    return np.stack([test(way, place)[seed] for seed, place in enumerate(places)]).astype(float)
