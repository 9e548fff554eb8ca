"""What a study could find, before anything is trained: the smallest difference within its reach."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from scipy import special

from adapterlab.evidence.family import all_pairs
from adapterlab.evidence.intervals import check_level
from adapterlab.evidence.spread import Spread
from adapterlab.evidence.verdicts import MIN_SEEDS

AGREEMENT = 0.5
"""Correlation of two arms' answers over test examples, where nothing better is known."""

_DRAWS = 4_000
_STUDIES, _FEWEST_STUDIES, _PAIRS = 100, 10, 2_000


@dataclass(frozen=True)
class StudyDesign:
    """A study that is planned, and what is known or assumed about its luck.

    Attributes:
        arms: K, at least 2.
        seeds: of each arm, at least 1.
        deviation: of an arm's scores over seeds on one test split, as a share of 1, from 0: half a
            point is 0.005.
        examples: in the test split, N, at least 1.
        accuracy: of a typical arm, from 0 to 1.
        agreement: correlation over test examples of two arms' answers, from 0 to 1. Arms that fail
            at the same examples differ by less luck than arms that fail at others.

    Raises:
        ValueError: one outside its range.
    """

    arms: int
    seeds: int
    deviation: float
    examples: int
    accuracy: float
    agreement: float = AGREEMENT

    def __post_init__(self) -> None:
        if self.arms < 2 or self.seeds < 1 or self.examples < 1:
            raise ValueError(
                f"{self.arms} arms, {self.seeds} seeds, {self.examples} examples; expected at "
                "least 2, 1 and 1"
            )
        shares = self.deviation, self.accuracy, self.agreement
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(
                f"deviation, accuracy, agreement are {shares}; expected shares from 0 to 1"
            )

    @property
    def over_seeds(self) -> float:
        """Standard error over seeds of a difference of two arms."""
        return self.deviation * sqrt(2 / self.seeds)

    @property
    def over_examples(self) -> float:
        """Standard error over test examples of a difference of two arms.

        The answers of each arm vary by p (1 - p), and what they have in common cancels. Two
        examples are added, as in the tests (`spread`), so that it is never 0.
        """
        return sqrt(2 * self._answers * (1 - self.agreement) + 2 / self.examples**2)

    @property
    def seeds_rule(self) -> bool:
        """Whether more seeds would help more than more test examples."""
        return self.over_seeds > self.over_examples

    @property
    def _answers(self) -> float:
        return self.accuracy * (1 - self.accuracy) / self.examples

    def spread(self) -> Spread:
        """Return what the errors of a study of this design are expected to be."""
        k, answers = self.arms, self._answers
        shared = np.full((k, k), self.agreement) + (1 - self.agreement) * np.eye(k)
        return Spread(
            means=np.full(k, self.accuracy),
            freedom=np.full(k, self.seeds - 1.0),
            runs=np.full(k, self.deviation**2 / self.seeds),
            joint=np.zeros(k),
            examples=answers * shared,
            differences=np.full((k, k), self.over_examples**2),
        )


def smallest_difference(
    design: StudyDesign,
    *,
    level: float = 0.05,
    power: float = 0.8,
    draws: int = _DRAWS,
    seed: int = 0,
) -> float | None:
    """Smallest true difference of two arms that the study's test of all pairs will find.

    The test is that of `family.all_pairs` to the letter: studies of this design are drawn, each
    estimates spreads of its own, and these give it critical values and standard errors. The power
    is the mean over studies and pairs. (A critical value from the studentized range with Welch's
    degrees of freedom would be too small with few seeds.) The true errors are those of the design,
    where `detectable` takes what a study has seen.

    Args:
        design: of the study.
        level: share of studies with a false difference, at most.
        power: how often the difference is to be found, above ``level``, below 1.
        draws: of studies without a difference, for each critical value; fewer are faster.
        seed: of the draws; the same seed gives the same result.

    Returns:
        A difference as a share of 1, which may be above 1: out of reach. None with fewer seeds than
        a test takes.

    Raises:
        ValueError: an argument outside its range.
    """
    check_level(level)
    if not level < power < 1:
        raise ValueError(f"power is {power}; expected above the level, {level}, and below 1")
    if design.seeds < MIN_SEEDS:
        return None
    spread, freedom = design.spread(), design.seeds - 1.0
    rng = np.random.default_rng(seed)
    deviation = sqrt(design.over_examples**2 + design.over_seeds**2)
    pairs = design.arms * (design.arms - 1) // 2
    thresholds = []
    for study in range(max(_FEWEST_STUDIES, min(_STUDIES, _PAIRS // pairs))):
        seen = spread.runs * rng.chisquare(freedom, design.arms) / freedom
        found = all_pairs(replace(spread, runs=seen), level=level, draws=draws, seed=seed + study)
        reach = special.stdtrit(found.freedom, 1 - found.critical / 2)
        thresholds.append(reach * found.error / deviation)
    threshold = np.array(thresholds)

    def missing(shift: float) -> float:
        found = special.ndtr(shift - threshold) + special.ndtr(-shift - threshold)
        return power - float(found.mean())

    high = 1.0
    while missing(high) > 0:
        high *= 2
    from scipy import optimize  # takes a while to load

    return deviation * float(optimize.brentq(missing, 0.0, high, xtol=1e-6))


def said(design: StudyDesign, smallest: float | None, *, prior: str) -> str:
    """Say in a sentence or two what a planned study could find.

    Args:
        design: of the study.
        smallest: what `smallest_difference` returned.
        prior: where the deviation and the accuracy come from, such as "seen in study X".
    """
    size = f"{design.arms} arms x {design.seeds} seeds"
    known = (
        f"seeds' standard deviation {100 * design.deviation:.2g} points, accuracy "
        f"{100 * design.accuracy:.3g}%, {design.examples:,} test examples; {prior}"
    )
    if smallest is None:
        return f"{size} can tell no arms apart: a test takes {MIN_SEEDS} seeds an arm ({known})"
    what = "seeds" if design.seeds_rule else "test examples"
    return (
        f"{size} would find a difference of {100 * smallest:.2g} points 80 times in 100 ({known}). "
        f"Most of its uncertainty comes from the {what}, so more {what} would narrow it most."
    )
