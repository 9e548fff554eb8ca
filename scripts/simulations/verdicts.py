"""How often verdicts are false, intervals hold, and differences are found, in simulated studies.

    python scripts/simulations/verdicts.py                          all cells, two hours on one core
    python scripts/simulations/verdicts.py --arms 6 --runs 3 5      some of them, in minutes

A study's arms have equal accuracy. Examples are easy or hard, for all arms alike and for each arm
by itself; a run has luck that it carries to all examples, and luck with each. A verdict is false if
any pair of arms is told apart. Power is that of the pair of the first two arms when the first is
made worse, on the same studies: of the rule of now over all pairs, of the same rule with the second
arm named beforehand (`planned=true`), and of the one before it (a reference that was fixed
beforehand, paired t-test, z-test over examples and min F', with Holm's correction).
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from tqdm import tqdm

from adapterlab.app.script_options import Parser, at_least
from adapterlab.evidence.accuracy_intervals import share_interval
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.spread import Spread
from adapterlab.evidence.verdicts import Verdict, compare_all

Answers = npt.NDArray[np.bool_]

EXAMPLES, OF_ARM, OF_ANSWER = 1.0, 0.3, 0.3
"""Standard deviations, in probits: of an example for all arms, for one, and for one run of it."""

SHARES = ("false", "games_howell", "interval", "best", "headline", "now", "planned", "before")
"""Of studies: with a false verdict, and with one of Games & Howell's procedure on the same errors;
whose intervals of differences all hold; that keep an arm which is as good as all others among those
that may be best; in which the accuracy's interval of the arm picked by that accuracy holds; and in
which the worse arm is found, by each rule."""

FREEDOMS = np.concatenate([np.arange(1.0, 10.0), np.geomspace(10, 1e5, 20)])


@dataclass(frozen=True)
class Cell:
    """A kind of study.

    Attributes:
        arms: K.
        runs: of each, S.
        examples: of the test split, N.
        accuracy: of all arms.
        luck: standard deviation of the luck of runs, in probits (0.1 is about 2 points at 85%).
        wild: the first arm's luck, as a multiple of that of the others.
    """

    arms: int
    runs: int
    examples: int
    accuracy: float
    luck: float
    wild: float


def cells(arms: list[int], runs: list[int], examples: list[int]) -> Iterator[Cell]:
    """Yield the kinds of studies that are simulated, those of so many test examples."""
    kinds = [
        (1000, 0.85, 0.0, 1.0),
        (1000, 0.85, 0.05, 1.0),
        (1000, 0.85, 0.05, 3.0),
        (1000, 0.85, 0.15, 1.0),
        (100, 0.50, 0.05, 1.0),
        (100, 0.95, 0.05, 3.0),
        (1000, 0.995, 0.05, 1.0),
        (10_000, 0.90, 0.05, 3.0),
    ]
    for k, s in itertools.product(arms, runs):
        for n, accuracy, luck, wild in kinds:
            if n in examples:
                yield Cell(k, s, n, accuracy, luck, wild)


def answers(cell: Cell, rng: np.random.Generator) -> list[Answers]:
    """Make the answers of a study's arms, each ``[S, N]``."""
    easy = rng.normal(0, EXAMPLES, cell.examples)
    made = []
    for arm in range(cell.arms):
        luck = cell.luck * (cell.wild if arm == 0 else 1.0)
        total = np.sqrt(EXAMPLES**2 + OF_ARM**2 + OF_ANSWER**2 + luck**2)
        level = special.ndtri(cell.accuracy) * total
        latent = level + easy + rng.normal(0, OF_ARM, cell.examples)
        latent = latent + rng.normal(0, luck, (cell.runs, 1))
        made.append(latent + rng.normal(0, OF_ANSWER, (cell.runs, cell.examples)) > 0)
    return made


def shift(cell: Cell) -> float:
    """Return a drop in accuracy that is found about as often as not."""
    density = stats.norm.pdf(special.ndtri(cell.accuracy)) / np.sqrt(1 + OF_ARM**2 + OF_ANSWER**2)
    lucks = cell.luck**2 * (1 + cell.wild**2) * density**2 / cell.runs
    flips = 0.25 * cell.accuracy * (1 - cell.accuracy) / cell.examples
    reach = 2.2 + 0.5 * np.log2(cell.arms) + 4 / cell.runs
    return float(reach * np.sqrt(lucks + 2 * flips))


def worse(one: Answers, drop: float, rng: np.random.Generator) -> Answers:
    """Make an arm wrong on some examples that it gets right, the same in all runs."""
    lost = rng.random(one.shape[1]) < drop / max(float(one.mean()), drop)
    kept: Answers = np.logical_and(one, np.logical_not(lost))
    return kept


@cache
def studentized(arms: int, level: float = 0.05) -> npt.NDArray[np.float64]:
    """Return the studentized range's quantile over the root of 2, for each of `FREEDOMS`."""
    found: npt.NDArray[np.float64] = stats.studentized_range.ppf(1 - level, arms, FREEDOMS)
    found /= np.sqrt(2)
    return found


def games_howell(arms: list[Replicates]) -> bool:
    """Say whether Games & Howell (1976) tell any pair apart, the error over examples added.

    Each pair has its own variances over runs, the joint part counted twice as in Clark's F'.
    """
    spread = Spread.of(arms)
    i, j = np.triu_indices(len(arms), 1)
    u, v = spread.runs[i], spread.runs[j]
    variance = u + v + spread.differences[i, j]
    spare = u**2 / spread.freedom[i] + v**2 / spread.freedom[j]
    freedom = variance**2 / np.maximum(spare, np.finfo(float).tiny)
    limit = np.interp(1 / freedom, 1 / FREEDOMS[::-1], studentized(len(arms))[::-1])
    apart = np.abs(spread.means[i] - spread.means[j]) > limit * np.sqrt(variance)
    return bool(apart.any())


def previous(arms: list[Answers], level: float = 0.05) -> bool:
    """Say whether the rule before this one tells arm 0 from arm 1, its reference."""
    reference = arms[1]
    found = []
    for one in [arms[0], *arms[2:]]:
        paired = one.mean(axis=1) - reference.mean(axis=1)
        over_runs = max(float(paired.std(ddof=1)) / np.sqrt(len(paired)), 1e-12)
        by_example = one.mean(axis=0) - reference.mean(axis=0)
        over_examples = max(float(by_example.std()) / np.sqrt(len(by_example)), 1e-12)
        d, freedom = abs(float(paired.mean())), len(paired) - 1
        both = np.hypot(over_runs, over_examples)
        df = min(freedom * (both / over_runs) ** 4, 1e9)
        tests = (
            stats.t.sf(d / over_runs, freedom),
            stats.norm.sf(d / over_examples),
            stats.t.sf(d / both, df),
        )
        found.append(2 * max(tests))
    place = sum(p < found[0] for p in found)
    ahead = [p * (len(found) - i) for i, p in enumerate(sorted(found)[: place + 1])]
    return bool(max(ahead) < level)


def simulate(cell: Cell, studies: int, draws: int, seed: int) -> dict[str, float]:
    """Return the shares of studies in which each thing happened."""
    rng = np.random.default_rng([seed, cell.arms, cell.runs, cell.examples, int(1e3 * cell.luck)])
    counts = dict.fromkeys(SHARES, 0.0)
    names = [str(i) for i in range(cell.arms)]
    replicates = tuple(range(cell.runs))
    truth = cell.accuracy
    for number in range(studies):
        made = answers(cell, rng)
        equal = [Replicates(n, replicates, a) for n, a in zip(names, made, strict=True)]
        counts["games_howell"] += games_howell(equal)
        family = compare_all(equal, draws=draws, seed=number)
        pairs = family.pairs
        assert pairs is not None
        outside = (pairs.low > 0) | (pairs.high < 0)
        counts["false"] += bool(outside.any())
        counts["interval"] += not outside.any()
        counts["best"] += bool(family.may_be_best["0"])
        # The worst way to pick: by the very figures that are then shown.
        picked = max(made, key=lambda a: float(a.mean()))
        held = share_interval(picked, level=0.95 ** (1 / cell.arms))
        counts["headline"] += held.low <= truth <= held.high
        harmed = [worse(made[0], shift(cell), rng), *made[1:]]
        arms = [Replicates(n, replicates, a) for n, a in zip(names, harmed, strict=True)]
        for name, control in (("now", None), ("planned", "1")):
            again = compare_all(arms, control=control, draws=draws, seed=number)
            counts[name] += again.compare("0", "1").verdict is Verdict.WORSE
        counts["before"] += previous(harmed)
    return {name: count / studies for name, count in counts.items()}


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", type=at_least(2), nargs="+", default=[2, 6, 20])
    parser.add_argument("--runs", type=at_least(2), nargs="+", default=[3, 5, 10, 20])
    parser.add_argument("--examples", type=at_least(2), nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--studies", type=at_least(1), default=500, help="of each cell")
    parser.add_argument(
        "--draws", type=at_least(1), default=1000, help="of studies without a difference"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, help="write a line of JSON a cell here as well")
    options = parser.parse_args()
    header = ("arms", "runs", "examples", "accuracy", "luck", "wild")
    print(" | ".join([*header, *SHARES]))
    for cell in tqdm(list(cells(options.arms, options.runs, options.examples)), unit="cell"):
        found = simulate(cell, options.studies, options.draws, options.seed)
        values = [f"{value:g}" for value in asdict(cell).values()]
        tqdm.write(" | ".join([*values, *(f"{found[name]:.3f}" for name in SHARES)]))
        if options.to is not None:
            with options.to.open("a") as file:
                file.write(json.dumps(asdict(cell) | found | {"studies": options.studies}) + "\n")


if __name__ == "__main__":
    main()
