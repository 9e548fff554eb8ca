"""Studies without a difference, made of real runs: one arm's runs dealt into several fake arms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from adapterlab.evidence.arrays import Booleans, Floats
from adapterlab.evidence.family import DRAWS
from adapterlab.evidence.intervals import Interval, check_level
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import MIN_SEEDS, compare_all


@dataclass(frozen=True)
class NullStudy:
    """What the verdicts made of a study whose arms are all the same.

    Attributes:
        told_apart: some pair of arms has a difference, which is false.
        left_out: the first arm, as good as any, is not among those that may be best.
    """

    told_apart: bool
    left_out: bool


def null_studies(
    values: Floats | Booleans,
    *,
    arms: int,
    runs: int,
    studies: int,
    seed: int = 0,
    level: float = 0.05,
    higher_is_better: bool = True,
    draws: int = DRAWS,
) -> Iterator[NullStudy]:
    """Deal one arm's runs into fake arms again and again, and compare those as a report does.

    Within a study no run is dealt twice. Runs in fake arms are exchangeable, whatever the runs
    are like, so a share of `told_apart` above ``level`` is the rule's fault. What this cannot
    show: real arms differ in the examples that they fail at, and these do not; and studies
    dealt from one pool share its runs, so that their share is that of this pool.

    Args:
        values: ``[S, N]``, what each run has on each test example, see `Replicates`.
        arms: K, at least 2.
        runs: of each fake arm, at least `MIN_SEEDS`.
        studies: how often, at least 1.
        seed: of the dealing; the same seed deals the same studies.
        level: share of studies with a false difference, at most.
        higher_is_better: of the scores.
        draws: see `family.all_pairs`.

    Yields:
        One outcome a study.

    Raises:
        ValueError: an argument outside its range, or fewer runs than one study takes.
    """
    check_level(level)
    if arms < 2 or runs < MIN_SEEDS or studies < 1:
        raise ValueError(
            f"{studies} studies of {arms} arms of {runs} runs; expected at least 1, 2 and "
            f"{MIN_SEEDS}"
        )
    if arms * runs > len(values):
        raise ValueError(f"{arms} arms of {runs} runs are dealt from {len(values)} runs; too few")
    rng = np.random.default_rng(seed)
    for study in range(studies):
        hands = rng.permutation(len(values))[: arms * runs].reshape(arms, runs)
        family = compare_all(
            [Replicates(str(k), tuple(range(runs)), values[h]) for k, h in enumerate(hands)],
            level=level,
            higher_is_better=higher_is_better,
            draws=draws,
            seed=study,
        )
        pairs = family.pairs
        assert pairs is not None
        yield NullStudy(
            told_apart=bool(((pairs.low > 0) | (pairs.high < 0)).any()),
            left_out=not pairs.may_be_best[0],
        )


def exact_share(happened: Sequence[bool], level: float = 0.95) -> Interval:
    """Return the interval of Clopper & Pearson (1934) of how often something happens.

    Args:
        happened: whether it did, of at least one trial.
        level: how often such intervals hold the true share, at least.

    Raises:
        ValueError: no trials, or ``level`` out of range.
    """
    check_level(level)
    n, k = len(happened), sum(map(bool, happened))
    if n == 0:
        raise ValueError("no trials; expected at least one")
    tail = (1 - level) / 2
    low = float(special.betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(low, high)
