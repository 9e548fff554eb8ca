"""How often verdicts are false by designs and laws of luck that no rule was chosen on.

    python scripts/simulations/designs.py                 all rows, ten minutes
    python scripts/simulations/designs.py --studies 200   a first impression

No two arms differ. Scores of runs have a mean of 0 and a deviation for each arm: normal; Student's
of 3 degrees of freedom; skewed, 1 less an exponential, so that a few runs are far below the others;
or normal but for a run in ten, which is four deviations below. There is no error over test
examples, which would only make it less. Standard errors are the binomial's.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from unequal import told_apart

from adapterlab.app.script_options import Parser, at_least

Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]


def rare_bad(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Draw scores of which one in ten is far below, with a mean of 0 and a deviation of 1."""
    scores = rng.standard_normal(count) - 4.0 * (rng.random(count) < 0.1)
    found: npt.NDArray[np.float64] = (scores + 0.4) / np.sqrt(1 + 16 * 0.09)
    return found


LAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "Student's, 3": lambda rng, n: rng.standard_t(3, n) / np.sqrt(3),
    "skewed": lambda rng, n: 1 - rng.standard_exponential(n),
    "one in ten bad": rare_bad,
}

DESIGNS: list[tuple[tuple[int, ...], tuple[float, ...]]] = [
    *(((3, 3), (1, 1)), ((3, 3), (4, 1)), ((5, 5), (4, 1)), ((20, 20), (4, 1))),
    *(((3, 4), (4, 1)), ((4, 6), (4, 1)), ((5, 8), (4, 1)), ((10, 17), (4, 1))),
    *(((3, 10), (1, 1)), ((3, 10), (2, 1)), ((3, 10), (4, 1)), ((3, 10), (1, 4))),
    *(((5, 30), (1, 1)), ((5, 30), (4, 1)), ((5, 30), (1, 4))),
    *(((4, 4, 12), (1, 1, 1)), ((4, 4, 12), (4, 1, 1)), ((4, 4, 12), (1, 1, 4))),
    *(((3, 5, 20), (4, 1, 1)), ((3, 3, 3), (4, 1, 1))),
    *(((3,) * 6, (1,) * 6), ((3,) * 6, (10, 1, 1, 1, 1, 1))),
    ((3, 4, 5, 6, 8, 10), (4, 3, 2.5, 2, 1.5, 1)),
]
"""Runs of each arm, and the deviations of their scores."""


def false(
    runs: tuple[int, ...], deviations: tuple[float, ...], draw: Draw, studies: int, seed: int
) -> float:
    """Return the share of studies with a false difference."""
    rng = np.random.default_rng([seed, *runs])
    found = 0
    for study in range(studies):
        scores = [d * draw(rng, n) for n, d in zip(runs, deviations, strict=True)]
        found += told_apart(scores, 0.05, study)
    return found / studies


def main() -> None:
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=at_least(1), default=1000, help="of each figure")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    print(f"{options.studies} studies a figure: false, in percent (standard error)\n")
    print(f"| runs | deviations | {' | '.join(LAWS)} |\n| --- | --- |{' --- |' * len(LAWS)}")
    for runs, deviations in DESIGNS:
        row = []
        for draw in LAWS.values():
            share = false(runs, deviations, draw, options.studies, options.seed)
            error = np.sqrt(share * (1 - share) / options.studies)
            row.append(f"{100 * share:.1f} ({100 * error:.1f})")
        listed = [", ".join(f"{number:g}" for number in numbers) for numbers in (runs, deviations)]
        print(f"| {' | '.join([*listed, *row])} |", flush=True)


if __name__ == "__main__":
    main()
