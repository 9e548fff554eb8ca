"""How often verdicts are false with unequal runs and late looks, and what intervals of errors hold.

    python scripts/simulations/unequal.py                 all, some minutes
    python scripts/simulations/unequal.py --studies 200   a first impression

Scores of runs are normal and no two arms differ. First arms of unequal runs and deviations, looked
at once; then an arm that catches up with one of 20 runs, and arms that are added, by reports after
each other, at the level that each is given and at 5%; last the interval of a mean squared error
over test examples, of one model, by how heavy the tails of its errors are.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adapterlab.app.script_options import Parser, at_least
from adapterlab.evidence.family import all_pairs
from adapterlab.evidence.looks import Look, next_look
from adapterlab.evidence.score_intervals import score_interval
from adapterlab.evidence.spread import Spread

Scores = Sequence[npt.NDArray[np.float64]]

ONCE = [
    *(((3, 20), (1, 1)), ((3, 20), (2, 1)), ((3, 20), (3, 1)), ((3, 20), (10, 1))),
    *(((3, 5), (1, 1)), ((3, 5), (3, 1)), ((5, 20), (1, 1)), ((5, 20), (3, 1))),
    *(((3, 20, 20), (1, 1, 1)), ((3, 20, 20), (3, 1, 1)), ((3, 3, 20), (3, 1, 1))),
    ((3, 3, 3, 20, 20, 20), (1, 1, 1, 1, 1, 1)),
    ((3, 20, 20, 20, 20, 20), (3, 1, 1, 1, 1, 1)),
]
"""Runs of each arm, and the deviations of their scores."""

LOOKS: dict[str, list[tuple[int, ...]]] = {
    "an arm of 20 and one of 3, 5, 8, 10, 15, 20": [(20, n) for n in (3, 5, 8, 10, 15, 20)],
    "both of 3, 5, 8, 10, 15, 20": [(n, n) for n in (3, 5, 8, 10, 15, 20)],
    "2 to 8 arms of 5": [(5,) * n for n in range(2, 9)],
}

TAILS = {"normal": np.inf, "Student's, 5": 5.0, "Student's, 3": 3.0}
"""Degrees of freedom of the errors."""


def spread_of(scores: Scores) -> Spread:
    """Return the spread of arms' scores over runs, without an error over test examples."""
    k = len(scores)
    return Spread(
        means=np.array([one.mean() for one in scores]),
        freedom=np.array([len(one) - 1.0 for one in scores]),
        runs=np.array([one.var(ddof=1) / len(one) for one in scores]),
        joint=np.zeros(k),
        examples=np.zeros((k, k)),
        differences=np.full((k, k), 1e-12),
    )


def told_apart(scores: Scores, level: float, seed: int) -> bool:
    """Say whether any two arms are told apart."""
    found = all_pairs(spread_of(scores), level=level, draws=2000, seed=seed)
    return bool(((found.low > 0) | (found.high < 0)).any())


def once(runs: Sequence[int], deviations: Sequence[float], studies: int) -> float:
    """Return the share of studies with a false difference."""
    rng = np.random.default_rng(0)
    false = 0
    for study in range(studies):
        scores = [rng.normal(0, d, n) for n, d in zip(runs, deviations, strict=True)]
        false += told_apart(scores, 0.05, study)
    return false / studies


def levels(path: Sequence[Sequence[int]]) -> list[float]:
    """Return the level of each report after the others."""
    made: list[Look] = []
    for runs in path:
        made.append(next_look(made, runs)[0])
    return [look.level for look in made]


def repeated(path: Sequence[Sequence[int]], at: Sequence[float], studies: int) -> float:
    """Return the share of studies with a false difference in any of several reports."""
    rng = np.random.default_rng(0)
    false = 0
    for study in range(studies):
        scores = rng.standard_normal((max(map(len, path)), max(map(max, path))))
        false += any(
            told_apart([scores[arm, :n] for arm, n in enumerate(runs)], level, study)
            for runs, level in zip(path, at, strict=True)
        )
    return false / studies


def held(freedom: float, examples: int, studies: int) -> tuple[float, float]:
    """Return how often a mean squared error's 95% interval holds it, and the median weight.

    The weight is that of the heaviest example in the sum.
    """
    rng = np.random.default_rng(0)
    normal = np.isinf(freedom)
    truth = 1.0 if normal else freedom / (freedom - 2)
    hold, weights = 0, []
    for _ in range(studies):
        errors = rng.standard_normal(examples) if normal else rng.standard_t(freedom, examples)
        values = np.square(errors)[None]
        found = score_interval("mse", values)
        assert found is not None
        hold += found.low <= truth <= found.high
        weights.append(values.max() / values.sum())
    return hold / studies, float(np.median(weights))


def main() -> None:
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=at_least(2), default=2000)
    studies = parser.parse_args().studies
    print(f"{studies} studies a row\n\n| runs | deviations | false |\n| --- | --- | --- |")
    for runs, deviations in ONCE:
        false = once(runs, deviations, studies)
        print(f"| {_listed(runs)} | {_listed(deviations)} | {false:.1%} |", flush=True)
    print("\n| reports on | each at 5% | as they are |\n| --- | --- | --- |")
    for name, path in LOOKS.items():
        both = [repeated(path, at, studies // 2) for at in ([0.05] * len(path), levels(path))]
        print(f"| {name} | {both[0]:.1%} | {both[1]:.1%} |", flush=True)
    print("\n| errors | test examples | held | heaviest example |\n| --- | --- | --- | --- |")
    for name, freedom in TAILS.items():
        for examples in (100, 1000, 10_000):
            share, weight = held(freedom, examples, studies)
            print(f"| {name} | {examples:,} | {share:.1%} | {weight:.1%} |", flush=True)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


if __name__ == "__main__":
    main()
