"""What looking at a study before it is over costs: false differences, and the seeds that it saves.

    python scripts/simulations/sequential.py
    python scripts/simulations/sequential.py --arms 2 6 --studies 5000 --looks 3 5 10 20

Every arm has normal scores over seeds, with standard deviation 1, and an error over test examples
that stays the same at all looks. All pairs of arms are tested at each look by Welch's t with both
errors; the family's critical p is drawn, so that a single look has exactly its level and what is
seen is the doing of the looks. An arm that is worse than some other leaves the study; pairs with it
are not tested again. The rules:

    every look at 5%     each look is tested as if it were the only one
    the last look only   no looks before: a study of a fixed size
    O'Brien-Fleming      the spending function of that type, over the seeds at most
    Pocock               the same, of that type

Columns: *false*, the share of studies that at any look tell two equal arms apart; *report*, the
same share for a table at the end that compares all pairs again, those with arms that have left
included; *found*, the share in which the better arm is left alone; *seeds*, the mean over arms and
studies, of those that a fixed study takes. The second table is about seeds that are added without a
plan. The third has no drawn values: answers right or wrong, tested and decided by what
`hydra/sweeper=sequential` itself calls, with the spending function of Pocock's type.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import special
from tqdm import tqdm

from adapterlab.app.script_options import Parser, at_least
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.sequential import levels, obrien_fleming, pocock, spent_at
from adapterlab.studies.sequential.stopping import compared, decide

Array = npt.NDArray[np.float64]

BY_HAND = ([3, 5], [5, 10], [3, 4, 5, 6, 7, 8, 9, 10])

SWEPT = ((4, 0.0), (4, 0.02), (4, 0.04))
"""Arms, and how far the first is ahead, of studies that are carried out as the sweeper would."""


class Options(NamedTuple):
    """Of the command line."""

    studies: int
    swept: int
    arms: list[int]
    looks: list[int]
    differences: list[float]
    examples: list[float]
    seed: int


class Setting(NamedTuple):
    """A kind of study: arms, the better one's lead in deviations, the examples' deviation."""

    arms: int
    lead: float
    examples: float


class Outcome(NamedTuple):
    """What came of many studies, as shares; seeds are a mean."""

    false: float
    report: float
    found: float
    seeds: float


def main() -> None:
    options = parsed()
    rng = np.random.default_rng(options.seed)
    settings = [
        Setting(arms, lead, examples)
        for arms in options.arms
        for examples in options.examples
        for lead in (0.0, *options.differences)
    ]
    table = Table("arms", "lead", "examples", "rule", "false", "report", "found", "seeds")
    steps = len(settings) + len(options.arms) * len(options.examples) + len(BY_HAND)
    bar = tqdm(total=steps + len(SWEPT) * options.swept)
    critical: dict[tuple[int, float], Array] = {}
    for setting in settings:
        key = setting.arms, setting.examples
        if key not in critical:
            critical[key] = smallest(rng, setting, options.looks, options.studies * 4)
            bar.update()
        scores, errors = drawn(rng, setting, options.studies, options.looks[-1])
        for rule, each in rules(options.looks, setting.arms).items():
            limits = [at(one, level) for one, level in zip(critical[key], each, strict=True)]
            outcome = carried_out(scores, errors, setting, options.looks, limits)
            cells = [f"{value:.1%}" for value in outcome[:3]]
            if not setting.lead:
                cells[2] = ""
            table.add_row(
                str(setting.arms), f"{setting.lead:g}", f"{setting.examples:g}", rule,
                *cells, f"{outcome.seeds:.1f} of {options.looks[-1]}",
            )  # fmt: skip
        bar.update()
    added = Table("looks by hand", "each at 5%", "the rule", "stated bound")
    for looks in BY_HAND:
        added.add_row(", ".join(map(str, looks)), *by_hand(rng, looks, options.studies))
        bar.update()
    sweeps = Table("arms", "points ahead", "false", "found", "seeds")
    for arms, lead in SWEPT:
        found = [swept(rng, arms, lead, options.looks, bar) for _ in range(options.swept)]
        if found:
            false, alone, seeds = np.mean(found, axis=0)
            most = options.looks[-1]
            rest = f"{false:.1%}", f"{alone:.1%}" if lead else "", f"{seeds:.1f} of {most}"
            sweeps.add_row(str(arms), f"{100 * lead:g}", *rest)
    bar.close()
    console = Console(width=110)
    console.print(table)
    console.print(added)
    console.print(sweeps)


def rules(looks: Sequence[int], arms: int) -> dict[str, list[float]]:
    """Return the level of every look by each rule."""
    most = looks[-1]
    return {
        "every look at 5%": [0.05] * len(looks),
        "the last look only": [0.0] * (len(looks) - 1) + [0.05],
        "O'Brien-Fleming": levels(looks, most, arms=arms, spending=obrien_fleming),
        "Pocock": levels(looks, most, arms=arms, spending=pocock),
    }


def drawn(
    rng: np.random.Generator, setting: Setting, studies: int, most: int
) -> tuple[Array, Array]:
    """Return scores ``[R, K, most]``, the first arm's ahead, and examples' errors ``[R, K]``."""
    scores = rng.standard_normal((studies, setting.arms, most))
    scores[:, 0] += setting.lead
    return scores, setting.examples * rng.standard_normal((studies, setting.arms))


def tested(
    scores: Array, errors: Array, counts: npt.NDArray[np.int64], examples: float
) -> tuple[Array, Array]:
    """Return p of each pair of arms, ``[R, M]``, and the differences.

    Args:
        scores: ``[R, K, S]``.
        errors: over examples, ``[R, K]``, in all scores of an arm.
        counts: how many of the scores there are, ``[R, K]``.
        examples: standard deviation of the errors, which many examples tell.
    """
    there = np.arange(scores.shape[2]) < counts[..., None]
    means = np.where(there, scores, 0).sum(axis=2) / counts
    spare = np.where(there, scores - means[..., None], 0)
    variances = np.square(spare).sum(axis=2) / (counts - 1) / counts
    first, second = np.triu_indices(scores.shape[1], 1)
    total = variances[:, first] + variances[:, second] + 2 * examples**2
    over = np.square(variances) / (counts - 1)
    freedom = np.square(total) / (over[:, first] + over[:, second])
    means = means + errors
    difference = means[:, first] - means[:, second]
    p = 2 * special.stdtr(freedom, -np.abs(difference) / np.sqrt(total))
    return p, difference


def smallest(
    rng: np.random.Generator, setting: Setting, looks: Sequence[int], studies: int
) -> Array:
    """Return the smallest p of studies without a difference, sorted, ``[looks, R]``."""
    found = []
    for look in looks:
        scores, errors = drawn(rng, setting._replace(lead=0.0), studies, look)
        counts = np.full((studies, setting.arms), look)
        p = tested(scores, errors, counts, setting.examples)[0]
        found.append(np.sort(p.min(axis=1)))
    return np.array(found)


def at(smallest: Array, level: float) -> float:
    """Return the p below which the smallest is with a probability; 0 where no draw can say."""
    place = int(level * (len(smallest) + 1))
    return float(smallest[place - 1]) if place else 0.0


def carried_out(
    scores: Array,
    errors: Array,
    setting: Setting,
    looks: Sequence[int],
    limits: Sequence[float],
) -> Outcome:
    """Look, let the arms go that are worse than another, and go on with the rest."""
    studies, arms, _ = scores.shape
    first, second = np.triu_indices(arms, 1)
    null = (first > 0) if setting.lead else np.ones(len(first), dtype=bool)
    active = np.ones((studies, arms), dtype=bool)
    counts = np.zeros((studies, arms), dtype=np.int64)
    false = np.zeros(studies, dtype=bool)
    report = np.zeros(studies, dtype=bool)
    for look, limit in zip(looks, limits, strict=True):
        goes_on = active.sum(axis=1) > 1
        counts[goes_on[:, None] & active] = look
        p, difference = tested(scores[..., :look], errors, counts, setting.examples)
        beyond = p <= limit
        report = np.where(goes_on, (beyond & null).any(axis=1), report)
        both = active[:, first] & active[:, second] & goes_on[:, None]
        false |= (beyond & both & null).any(axis=1)
        for pair, (a, b) in enumerate(zip(first, second, strict=True)):
            decided = beyond[:, pair] & both[:, pair]
            active[decided & (difference[:, pair] < 0), a] = False
            active[decided & (difference[:, pair] > 0), b] = False
    found = (active.sum(axis=1) == 1) & active[:, 0]
    return Outcome(*(float(each.mean()) for each in (false, report, found, counts)))


def by_hand(rng: np.random.Generator, looks: list[int], studies: int) -> list[str]:
    """Return false studies of two arms that are looked at without a plan, and what is stated."""
    studies *= 5  # two arms are cheap
    setting = Setting(2, 0.0, 0.0)
    critical = smallest(rng, setting, looks, studies * 4)
    scores, errors = drawn(rng, setting, studies, looks[-1])
    cells = []
    for each in ([0.05] * len(looks), levels(looks, looks[0])):
        limits = [at(one, level) for one, level in zip(critical, each, strict=True)]
        cells.append(f"{carried_out(scores, errors, setting, looks, limits).false:.1%}")
    return [*cells, f"{spent_at(looks, looks[0])[-1]:.1%}"]


def swept(
    rng: np.random.Generator, arms: int, lead: float, looks: Sequence[int], bar: "tqdm[Any]"
) -> tuple[bool, bool, float]:
    """Carry a study out; return whether a verdict was false, the best was found, mean seeds.

    About 80% of 1,000 test examples are right, 1.5 points more or less by the seed's luck.
    """
    examples, names = 1000, [str(arm) for arm in range(arms)]
    easy = rng.standard_normal(examples)
    shift = special.ndtri(0.8) * np.sqrt(1.5)
    ahead = np.zeros((arms, 1, 1))
    ahead[0] = np.sqrt(1.5) * (special.ndtri(0.8 + lead) - special.ndtri(0.8))
    luck = 0.065 * rng.standard_normal((arms, looks[-1], 1))
    noise = np.sqrt(0.5) * rng.standard_normal((arms, looks[-1], examples))
    right = easy + shift + ahead + luck + noise > 0
    left, seeds, false = tuple(names), dict.fromkeys(names, 0), False
    for look, level in zip(looks, levels(looks, looks[-1], arms=arms), strict=True):
        seeds |= dict.fromkeys(left, look)
        answers = [
            Replicates(name, tuple(range(seeds[name])), right[arm, : seeds[name]])
            for arm, name in enumerate(names)
        ]
        pairs = compared(answers, level)
        alike = [name for name in left if not lead or name != "0"]
        false |= bool(decide(pairs, alike, level=level, margin=0.005).out)
        decision = decide(pairs, left, level=level, margin=0.005)
        left = decision.left
        if decision.is_over:
            break
    bar.update()
    return false, left == ("0",), float(np.mean(list(seeds.values())))


def parsed() -> Options:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=at_least(100), default=10_000, help="of each kind")
    parser.add_argument(
        "--swept", type=at_least(1), default=200, help="of each, as the sweeper does"
    )
    parser.add_argument("--arms", type=at_least(2), nargs="+", default=[2, 6, 10])
    parser.add_argument("--looks", type=at_least(2), nargs="+", default=[3, 5, 8, 10, 15, 20])
    parser.add_argument(
        "--differences", type=float, nargs="+", default=[1.0, 2.0],
        help="leads of the first arm, in standard deviations over seeds",
    )  # fmt: skip
    parser.add_argument(
        "--examples", type=float, nargs="+", default=[0.0, 0.3],
        help="standard deviations of the error over test examples, in those over seeds",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    options = Options(**vars(parser.parse_args()))
    if sorted(set(options.looks)) != options.looks:
        parser.error(f"--looks: {' '.join(map(str, options.looks))}: expected growing numbers")
    return options


if __name__ == "__main__":
    main()
