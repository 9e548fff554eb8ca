"""Which arms differ: verdicts that hold over seeds and over test examples, as a family."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Booleans
from adapterlab.evidence.crossed import crossed_p
from adapterlab.evidence.intervals import Interval, check_level
from adapterlab.evidence.multiple import holm
from adapterlab.evidence.paired import (
    McNemar,
    PairedBootstrap,
    PairedT,
    WelchT,
    mcnemar,
    paired_bootstrap,
    paired_permutation,
    paired_t,
    welch_t,
)
from adapterlab.evidence.power import smallest_detectable_shift

MIN_SEEDS = 3


class Verdict(StrEnum):
    """What a comparison came to, from the point of view of its first arm."""

    BETTER = "better"
    WORSE = "worse"
    TIE = "tie"
    TOO_FEW_SEEDS = "too few seeds"


@dataclass(frozen=True, eq=False)
class Replicates:
    """The runs of one arm, on one test split.

    Attributes:
        name: the arm's.
        seeds: S of them, at least 1, all different.
        scores: test accuracy by seed, S shares from 0 to 1.
        correct: ``[S, N]``, whether each test example is right, seeds in the order of ``seeds``;
            None where predictions were not kept.

    Raises:
        ValueError: what does not fit together, scores that are not those of ``correct`` included.
    """

    name: str
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    correct: Booleans | None

    def __post_init__(self) -> None:
        if not self.seeds or len(self.seeds) != len(self.scores):
            raise ValueError(
                f"{self.name}: {len(self.scores)} scores for {len(self.seeds)} seeds; "
                "expected one a seed, and a seed at least"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"{self.name}: a seed comes twice in {self.seeds}")
        if self.correct is None:
            return
        if self.correct.dtype != np.bool_ or self.correct.shape[:-1] != (len(self.seeds),):
            raise ValueError(
                f"{self.name}: answers of shape {self.correct.shape} and type "
                f"{self.correct.dtype}; expected bool [{len(self.seeds)}, N]"
            )
        if not np.allclose(self.correct.mean(axis=1), self.scores, rtol=0, atol=1e-6):
            raise ValueError(
                f"{self.name}: scores {self.scores} are not the accuracies of the answers, "
                f"{tuple(self.correct.mean(axis=1).tolist())}"
            )


@dataclass(frozen=True)
class Comparison:
    """Arm a against arm b; all differences are a - b, in accuracy.

    Attributes:
        a: name of the arm.
        b: name of the arm it is compared with.
        difference: mean over the shared seeds if ``paired``, else difference of the means.
        interval: of the difference over seeds, not corrected for the family; None if a spread
            cannot be estimated.
        p_seeds: of the t-test over seeds; None likewise.
        p_examples: over test examples, the larger of the paired bootstrap's and the permutation
            test's; None without predictions.
        p_both: over seeds and test examples at once, see `crossed_p`; None without predictions
            or a spread over seeds.
        p: the largest of the three, or ``p_seeds`` without predictions; None if ``verdict`` is
            `Verdict.TOO_FEW_SEEDS`, for then nothing is tested.
        p_adjusted: ``p`` by Holm over the family; None where ``p`` is.
        effect: Cohen's d_z over pairs (over seeds, not examples) if ``paired``, else Cohen's d.
        smallest_detectable: true difference that would have been found 80% of the time, even as
            the first of its family: at level / number of tests. None without a spread.
        mcnemar: one a shared seed, in the order of a's seeds; empty without predictions.
        seeds: the number of seeds that a and b share.
        verdict: of a.
        paired: whether seeds are compared in pairs, or as two samples (Welch).
    """

    a: str
    b: str
    difference: float
    interval: Interval | None
    p_seeds: float | None
    p_examples: float | None
    p_both: float | None
    p: float | None
    p_adjusted: float | None
    effect: float | None
    smallest_detectable: float | None
    mcnemar: tuple[McNemar, ...]
    seeds: int
    verdict: Verdict
    paired: bool


def compare_with(
    reference: Replicates, others: Sequence[Replicates], *, level: float = 0.05
) -> list[Comparison]:
    """Compare each arm (a) with a reference (b), and decide which ones differ from it.

    A difference counts only if it holds over seeds (paired t-test), over test examples (paired
    bootstrap and permutation test), and over both at once (`crossed_p`). The claim is that all
    these null hypotheses are false, so p is the largest, with no correction between them: an
    intersection-union test (Berger, 1982, "Multiparameter hypothesis testing and acceptance
    sampling"). Holm then corrects over all comparisons of the call that are tested.

    Arms that share fewer than `MIN_SEEDS` seeds are compared over seeds by Welch's test. An arm
    with fewer than `MIN_SEEDS` seeds gets no test, and takes no part in the correction.

    Args:
        reference: what the others are compared with.
        others: all arms that are compared with it in one place: Holm corrects over these.
        level: the share of families with a false verdict is at most this.

    Returns:
        One comparison an arm, in the order of ``others``.

    Raises:
        ValueError: predictions of different numbers of examples, or ``level`` out of range.
    """
    check_level(level)
    tested = sum(not _too_few(reference, other) for other in others)
    # Holm asks this of the smallest p; what passes it needs no luck in the other comparisons.
    strictest = level / max(1, tested)
    found = [_compare(other, reference, level, strictest) for other in others]
    adjusted = iter(holm([one.p for one in found if one.p is not None]))
    return [one if one.p is None else _decide(one, next(adjusted), level) for one in found]


def _too_few(a: Replicates, b: Replicates) -> bool:
    return min(len(a.seeds), len(b.seeds)) < MIN_SEEDS


def _compare(a: Replicates, b: Replicates, level: float, strictest: float) -> Comparison:
    """Everything but what depends on the family."""
    shared = [seed for seed in a.seeds if seed in b.seeds]
    # What is too little for a verdict is still shown in pairs, if there are two.
    paired = len(shared) >= (2 if _too_few(a, b) else MIN_SEEDS)
    rows_a, rows_b = _rows(a, shared), _rows(b, shared)
    over_seeds = (
        paired_t(np.take(a.scores, rows_a), np.take(b.scores, rows_b), level=1 - level)
        if paired
        else welch_t(a.scores, b.scores, level=1 - level)
    )
    over_examples: PairedBootstrap | None = None
    p_examples: float | None = None
    p_both: float | None = None
    each_seed: tuple[McNemar, ...] = ()
    if a.correct is not None and b.correct is not None:
        if a.correct.shape[1] != b.correct.shape[1]:
            raise ValueError(
                f"{a.name} has answers to {a.correct.shape[1]} test examples, {b.name} to "
                f"{b.correct.shape[1]}; expected the same examples"
            )
        in_pairs = a.correct[rows_a], b.correct[rows_b]
        each_seed = tuple(mcnemar(x, y) for x, y in zip(*in_pairs, strict=True))
        answers = in_pairs if paired else (a.correct, b.correct)
        over_examples = paired_bootstrap(*answers, level=1 - level)
        # The bootstrap alone is too lenient near 100%, where few examples decide.
        p_examples = max(over_examples.p, paired_permutation(*answers))
        if over_seeds.standard_error is not None and over_seeds.freedom is not None:
            p_both = crossed_p(
                over_seeds.difference,
                seeds_error=over_seeds.standard_error,
                freedom=over_seeds.freedom,
                examples_error=over_examples.standard_error,
            )
    raw = [p for p in (over_seeds.p, p_examples, p_both) if p is not None]
    return Comparison(
        a=a.name,
        b=b.name,
        difference=over_seeds.difference,
        interval=over_seeds.interval,
        p_seeds=over_seeds.p,
        p_examples=p_examples,
        p_both=p_both,
        p=None if _too_few(a, b) else max(raw),
        p_adjusted=None,
        effect=over_seeds.effect,
        smallest_detectable=_smallest_detectable(over_seeds, over_examples, strictest),
        mcnemar=each_seed,
        seeds=len(shared),
        verdict=Verdict.TOO_FEW_SEEDS,
        paired=paired,
    )


def _decide(one: Comparison, p_adjusted: float, level: float) -> Comparison:
    verdict = Verdict.TIE
    if p_adjusted < level:
        verdict = Verdict.BETTER if one.difference > 0 else Verdict.WORSE
    return replace(one, p_adjusted=p_adjusted, verdict=verdict)


def _rows(replicates: Replicates, seeds: Sequence[int]) -> npt.NDArray[np.intp]:
    return np.array([replicates.seeds.index(seed) for seed in seeds], dtype=np.intp)


def _smallest_detectable(
    over_seeds: PairedT | WelchT, over_examples: PairedBootstrap | None, level: float
) -> float | None:
    if over_seeds.standard_error is None or over_seeds.freedom is None:
        return None
    return smallest_detectable_shift(
        over_seeds.standard_error,
        over_seeds.freedom,
        examples_error=over_examples.standard_error if over_examples else 0.0,
        level=level,
    )
