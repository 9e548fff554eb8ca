"""How often the interval of an accuracy holds the accuracy over new seeds and new test examples.

    python scripts/simulations/shares.py                       # some minutes on one core
    python scripts/simulations/shares.py --examples 1000 --seeds 3,5 --repeats 4000

An answer is right where skill + difficulty of the example + luck of the seed + luck of both is
above 0, all normal; skill is set by the accuracy. The scenarios differ in how much luck seeds have:

- agree: none, all seeds answer alike
- flips: seeds change answers to single examples, but not the accuracy
- mild, strong: seeds' own luck, of standard deviation 0.05 and 0.2 of the examples'
- extreme: 0.6 of it: at an accuracy of 97%, seeds spread by 4 points, and skewed
"""

from itertools import product
from statistics import mean

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import special
from tqdm import tqdm

from adapterlab.app.script_options import Parser, at_least, several, shares
from adapterlab.evidence.accuracy_intervals import share_interval

SCENARIOS = {
    "agree": (0.0, 0.0),
    "flips": (0.0, 0.7),
    "mild": (0.05, 0.5),
    "strong": (0.2, 0.5),
    "extreme": (0.6, 0.5),
}
"""Standard deviations of the luck of seeds, and of seed and example; the examples' is 1."""

ACCURACIES, EXAMPLES, SEEDS = (0.5, 0.7, 0.9, 0.97, 0.995), (100, 1000, 10_000), (1, 3, 5, 10, 20)

MOST_ANSWERS = 40_000_000
"""Drawn for a cell: large cells are repeated less often, at least `FEWEST` times."""

FEWEST = 300


def draw(
    accuracy: float, shape: tuple[int, int], scenario: str, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draw whether answers are right, ``[S, N]``."""
    seeds, examples = shape
    of_seed, of_both = SCENARIOS[scenario]
    skill = special.ndtri(accuracy) * np.sqrt(1 + of_seed**2 + of_both**2)
    ease = rng.standard_normal(examples, dtype=np.float32) + np.float32(skill)
    luck = np.float32(of_seed) * rng.standard_normal((seeds, 1), dtype=np.float32)
    both = np.float32(of_both) * rng.standard_normal(shape, dtype=np.float32)
    right: npt.NDArray[np.bool_] = ease + luck + both > 0
    return right


def coverage(
    accuracy: float,
    shape: tuple[int, int],
    scenario: str,
    rng: np.random.Generator,
    repeats: int,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return how often intervals hold the accuracy, and how wide they are on average."""
    drawn = [share_interval(draw(accuracy, shape, scenario, rng), level) for _ in range(repeats)]
    held = mean(one.low <= accuracy <= one.high for one in drawn)
    return held, mean(one.high - one.low for one in drawn)


def main() -> None:
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accuracies", default=ACCURACIES, type=shares)
    parser.add_argument("--examples", default=EXAMPLES, type=several(1))
    parser.add_argument("--seeds", default=SEEDS, type=several(1))
    parser.add_argument("--repeats", default=2000, type=at_least(1), help="of each cell, at most")
    parser.add_argument("--seed", default=0, type=int, help="of the draws")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    table = Table(title="% of 95% intervals that hold the accuracy (mean width in points)")
    for name in ("examples", "accuracy", "seeds", *SCENARIOS):
        table.add_column(name, justify="right")
    rows = list(product(options.examples, options.accuracies, options.seeds))
    for examples, accuracy, seeds in tqdm(rows, unit="row"):
        repeats = min(options.repeats, max(FEWEST, MOST_ANSWERS // (examples * seeds)))
        cells = []
        for scenario in SCENARIOS:
            if seeds == 1 and scenario != "agree":
                cells.append("")  # one seed's interval is over examples only
                continue
            held, width = coverage(accuracy, (seeds, examples), scenario, rng, repeats)
            cells.append(f"{100 * held:.1f} ({100 * width:.2f})")
        table.add_row(str(examples), f"{100 * accuracy:g}", str(seeds), *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
