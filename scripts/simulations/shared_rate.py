"""How often a rate for all is said to cost something that it does not, and how its intervals hold.

    python scripts/simulations/shared_rate.py                  # some minutes on one core
    python scripts/simulations/shared_rate.py --seeds 3,10 --repeats 4000

Five ways to train at eight rates. An answer is right where skill + difficulty of the example +
luck of the seed + luck of both is above 0, all normal. The scenarios differ in the accuracy that
ways have by rate:

- alike: 80% at one rate, the same for all, and 2 points less for each step from it, squared
- flat: likewise, but two neighbouring rates are equally good, so that luck chooses
- apart: two of the five ways have their best one rate further

The cost of the shared rate is 0 or less in the first two: more runs have chosen it.
"""

from statistics import mean

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import special
from tqdm import tqdm

from adapterlab.app.script_options import Parser, at_least, several
from adapterlab.evidence.shared_rate import BestRate, best_rates

WAYS, RATES, EXAMPLES = 5, 8, 2000
OF_SEED, OF_BOTH = 0.03, 0.5
"""Standard deviations of the luck of seeds, and of seed and example; the examples' is 1."""

BEST = {"alike": (3.0,) * WAYS, "flat": (3.5,) * WAYS, "apart": (3.0, 3.0, 3.0, 4.0, 4.0)}
"""The rate that each way does best at, counted from 0; between two where both are as good."""


def accuracies(scenario: str) -> npt.NDArray[np.float64]:
    """Return the accuracy by way and rate, ``[G, R]``."""
    steps = np.arange(RATES) - np.array(BEST[scenario])[:, None]
    found: npt.NDArray[np.float64] = np.maximum(0.8 - 0.02 * steps**2, 0.3)
    return found


def study(scenario: str, seeds: int, rng: np.random.Generator) -> tuple[BestRate, ...]:
    """Draw a study, and ask it what one rate for all costs each way."""
    scale = np.sqrt(1 + OF_SEED**2 + OF_BOTH**2)
    skill = special.ndtri(accuracies(scenario))[:, :, None, None] * scale
    shape = (WAYS, RATES, seeds, EXAMPLES)
    luck = OF_SEED * rng.standard_normal((WAYS, RATES, seeds, 1)).astype(np.float32)

    def split() -> npt.NDArray[np.bool_]:
        ease = rng.standard_normal(EXAMPLES, dtype=np.float32)
        both = np.float32(OF_BOTH) * rng.standard_normal(shape, dtype=np.float32)
        right: npt.NDArray[np.bool_] = skill + ease + luck + both > 0
        return right

    validation, test = split().mean(axis=3), split()
    return best_rates(validation, lambda way, rate: test[way, rate]).ways


def main() -> None:
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", default=(3, 5, 10), type=several(2))
    parser.add_argument("--repeats", default=1000, type=at_least(1))
    parser.add_argument("--seed", default=0, type=int, help="of the draws")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    table = Table(title="one rate for all: how often it is said to cost a way something")
    names = ("scenario", "seeds", "any costs, %", "intervals that hold, %")
    for name in (*names, "mean cost, points", "mean half-width, points"):
        table.add_column(name, justify="right")
    for scenario in BEST:
        for seeds in options.seeds:
            drawn = [
                study(scenario, seeds, rng) for _ in tqdm(range(options.repeats), desc=scenario)
            ]
            table.add_row(scenario, str(seeds), *_row(drawn))
    Console(width=110).print(table)


def _row(drawn: list[tuple[BestRate, ...]]) -> list[str]:
    """Return how often, how surely and how much; of each way the truth is its mean cost."""
    any_costs = mean(any(_low(one) > 0 for one in ways) for ways in drawn)
    truth = [mean(ways[n].cost or 0.0 for ways in drawn) for n in range(WAYS)]
    asked = [(n, way.interval) for ways in drawn for n, way in enumerate(ways) if way.interval]
    held = [one.low <= truth[n] <= one.high for n, one in asked]
    width = [one.half_width for _, one in asked]
    cells = (100 * any_costs, 100 * mean(held) if held else 100.0, 100 * max(truth))
    return [*(f"{cell:.2f}" for cell in cells), f"{100 * mean(width):.2f}" if width else ""]


def _low(one: BestRate) -> float:
    return 0.0 if one.interval is None else one.interval.low


if __name__ == "__main__":
    main()
