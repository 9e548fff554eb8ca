"""Where the scores of arms vary: over runs, over test examples, and over both at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Booleans, Floats
from adapterlab.evidence.intervals import Interval, t_around
from adapterlab.evidence.replicates import Replicates

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spread:
    """The variances that decide whether K arms differ, tested on the same N examples.

    A score varies with the run (other first values, another order), with the test split, and with
    the two together: an example that one run of an arm gets right and another wrong. The last
    part is in what is seen over runs as well as in what is seen over examples, so whoever adds
    the two takes it out once (the quasi F-ratio of Winer, 1971, chapter 5.16; Clark's F', 1973,
    counts it twice).

    Attributes:
        means: the arms' scores, over all of their runs, ``[K]``.
        freedom: degrees of freedom over runs, S - 1, ``[K]``.
        runs: variance of each mean over runs, the joint part included, ``[K]``; 0 for one run.
        joint: the joint part alone, ``[K]``: variance of the mean by run and example at once.
        examples: covariance of the means over test examples, ``[K, K]``; its diagonal includes
            the joint part.
        differences: variance of each difference of two means over test examples, ``[K, K]``,
            never 0, see `_of_differences`.
    """

    means: Vector
    freedom: Vector
    runs: Vector
    joint: Vector
    examples: Vector
    differences: Vector

    @classmethod
    def of(cls, arms: Sequence[Replicates]) -> "Spread":
        """Measure it.

        Args:
            arms: at least one.

        Raises:
            ValueError: arms that were tested on different numbers of examples.
        """
        n = arms[0].examples
        for arm in arms:
            if arm.examples != n:
                raise ValueError(
                    f"{arms[0].name} was tested on {n} examples, {arm.name} on {arm.examples}; "
                    "expected the same examples"
                )
        over_runs, joint = zip(*(_over_runs(arm) for arm in arms), strict=True)
        by_example = np.stack([arm.values.mean(axis=0, dtype=np.float64) for arm in arms])
        means = by_example.mean(axis=1)
        centred = by_example - means[:, None]
        span = max(float(np.abs(arm.values).max()) for arm in arms) or 1.0
        return cls(
            means=means,
            freedom=np.array([arm.runs - 1.0 for arm in arms]),
            runs=np.array(over_runs),
            joint=np.array(joint),
            examples=centred @ centred.T / (max(n - 1, 1) * n),
            differences=_of_differences(by_example, span),
        )

    def interval(self, arm: int, level: float) -> Interval:
        """Return the interval of an arm's mean, over runs and test examples.

        Of one run, it is over test examples only.
        """
        examples = float(self.examples[arm, arm])
        variance = examples + max(float(self.runs[arm] - self.joint[arm]), 0.0)
        fewest = max(float(self.freedom[arm]), 1.0)
        runs = float(self.runs[arm])
        freedom = max(variance**2 * fewest / runs**2, fewest) if runs else np.inf
        return t_around(float(self.means[arm]), float(np.sqrt(variance)), freedom, level=level)

    def share_of_runs(self, a: int, b: int) -> float:
        """Return which part of the variance of a difference is the runs', from 0 to 1."""
        over_runs = self._over_runs(a, b)
        return over_runs / (over_runs + float(self.differences[a, b]))

    def share_for_seeds(self, a: int, b: int) -> float:
        """Return which part of the variance of a difference more seeds would take off.

        It is the runs', and of the joint part, which more examples take off as well, one half.
        """
        over_examples = float(self.differences[a, b])
        joint = min(float(self.joint[a] + self.joint[b]), over_examples)
        over_runs = self._over_runs(a, b)
        return (over_runs + joint / 2) / (over_runs + over_examples)

    def _over_runs(self, a: int, b: int) -> float:
        return float(max(self.runs[a] + self.runs[b] - self.joint[a] - self.joint[b], 0.0))


def paired_interval(a: Floats | Booleans, b: Floats | Booleans, level: float) -> Interval:
    """Return the interval of a difference of means, over runs that are paired and test examples.

    Args:
        a: per run and test example, ``[S, N]``.
        b: likewise; run s of both shares what is drawn at random.
        level: of the interval.
    """
    difference = np.asarray(a, np.float64) - b
    runs = tuple(range(len(difference)))
    paired = Spread.of([Replicates("difference", runs, difference)])
    both = Spread.of([Replicates("a", runs, a), Replicates("b", runs, b)])
    # Of few differing examples the spread says too little; `differences` allows for that.
    examples = np.maximum(paired.examples, both.differences[0, 1])
    return replace(paired, examples=examples).interval(0, level)


def _over_runs(arm: Replicates) -> tuple[float, float]:
    """Return the variance of an arm's mean over runs, and the part of it that is joint."""
    runs, n = arm.values.shape
    if runs < 2:
        return 0.0, 0.0
    of_scores = float(arm.scores.var(ddof=1))
    of_values = float(np.asarray(arm.values, np.float64).var(axis=0, ddof=1).mean())
    joint = max(of_values - of_scores, 0.0) / (n - 1) if n > 1 else 0.0
    return of_scores / runs, joint / runs


def _of_differences(by_example: Floats, span: float) -> Vector:
    """Return the variance over examples of the differences of means, ``[K, K]``.

    Where two arms differ on few examples, their spread says too little: after four differences
    that all favour one arm, a normal test is surer than four coins. As Bonett & Price (2012,
    "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
    data") do for one run, two examples are added, one for each side, here of the size of those
    that were seen (the root of Σd⁴ / Σd²: 1 for single runs, little for means of many). With
    none seen, of the largest that there could be.
    """
    k, n = by_example.shape
    found = np.empty((k, k))
    for i in range(k):
        d = by_example[i] - by_example
        squares = np.square(d)
        second = squares.sum(axis=1)
        fourth = np.square(squares).sum(axis=1)
        jump = np.divide(fourth, second, out=np.full(k, span**2), where=second > 0)
        found[i] = ((second + 2 * jump) / n - np.square(d.mean(axis=1))) / n
    return found
