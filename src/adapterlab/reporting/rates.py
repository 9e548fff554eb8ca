"""What a grid of learning rates says: which each arm wants, and what one for all would cost.

Arms that differ in nothing but their rate are one *way* here. A study has a grid where several ways
were run at the same rates, with the same seeds.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from adapterlab.base.dotted_names import within
from adapterlab.config.tasks import LOWER_IS_BETTER
from adapterlab.evidence.all_metrics import higher_is_better
from adapterlab.evidence.arrays import Booleans, Floats
from adapterlab.evidence.intervals import Interval, median_interval
from adapterlab.evidence.shared_rate import BestRate, BestRates, best_rates
from adapterlab.evidence.verdicts import MIN_SEEDS
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.formatting import confident, gap, listed, measured, signed
from adapterlab.reporting.reading.study import NO_NAMES, Replicate
from adapterlab.reporting.tables.arms import Table

RATE = "optimizer.lr"

LEAST = 3
"""Rates from which on there is a grid."""

SAME, WITHIN, COSTS, GAINS, UNDECIDED = (
    *("the same", "within the margin", "costs", "gains", "undecided"),
)
"""What is said of the shared rate against the best of each way."""

_TIMES = "full"
"""The strategy whose best rate others are written as multiples of."""


@dataclass(frozen=True, eq=False)
class Rates:
    """What a study's grid of rates says.

    Attributes:
        rates: in ascending order.
        ways: their names.
        found: the best rates, and what the shared one costs.
        scores: mean test score by way and rate, ``[G, R]``; nan where a seed is missing.
        gaps: why it is, in a word or two, by way and rate; empty where none is.
        seeds: how many.
        metric: of the scores.
        selected_on: the validation metric that chooses.
        margin: a difference that does not matter, in the unit of the scores.
        confidence: of all intervals at once, in percent.
        base: the way whose rates the others' are written as multiples of; None if there is none.
    """

    rates: tuple[float, ...]
    ways: tuple[str, ...]
    found: BestRates
    scores: Floats
    gaps: tuple[tuple[str, ...], ...]
    seeds: int
    metric: str
    selected_on: str
    margin: float
    confidence: float
    base: int | None

    def times(self, way: int) -> tuple[float, ...]:
        """Return how many times that of the base the best rate of a way is, for each seed."""
        base = self.found.ways[self.base or 0].by_seed
        own = self.found.ways[way].by_seed
        return tuple(self.rates[a] / self.rates[b] for a, b in zip(own, base, strict=True))

    def verdict(self, way: int) -> str:
        """Return what is said of the shared rate against the best of a way.

        It is within the margin where it is shown to cost less than that, be it shown to cost
        anything or not.
        """
        interval = self.found.ways[way].interval
        if interval is None:
            return SAME
        if interval.high < 0:
            return GAINS
        if interval.high < self.margin:
            return WITHIN
        return COSTS if interval.low > 0 else UNDECIDED


def rates_of(findings: Findings) -> Rates | None:
    """Return what a study's grid of rates says; None if it has none, or too few seeds."""
    family = findings.family
    if family is None:
        return None
    grids = _grids(findings.arms)
    common = sorted(set.intersection(*(set(grid) for grid in grids.values()))) if grids else []
    if len(grids) < 2 or len(common) < LEAST:
        return None
    cells = [[grid[rate] for rate in common] for grid in grids.values()]
    seeds = _most({run.replicate for run in arm.arm.runs} for row in cells for arm in row)
    if len(seeds) < MIN_SEEDS:
        return None
    values = {arm.name: arm for arm in family.arms}

    def answers(way: int, rate: int) -> Floats | Booleans:
        one = values[cells[way][rate].name]
        rows = [one.replicates.index(seed) for seed in seeds]
        return one.values[rows]

    validation = np.array([[_selected(arm, seeds, findings) for arm in row] for row in cells])
    tested = np.array([[[arm.name in values] for arm in row] for row in cells])
    validation = np.where(tested, validation, np.nan)
    if bool(np.isnan(validation).any(axis=2).all(axis=1).any()):
        return None
    failed = np.isnan(validation).any(axis=2)
    strategies = [row[0].strategy for row in cells]
    return Rates(
        rates=tuple(common),
        ways=tuple(_way(row[0].name) for row in cells),
        found=best_rates(
            validation,
            answers,
            level=family.level,
            higher_is_better=higher_is_better(findings.compared_on),
        ),
        scores=np.where(failed, np.nan, [[arm.score.mean for arm in row] for row in cells]),
        gaps=tuple(
            tuple(
                _gap(arm, seeds, tested=arm.name in values) if none else ""
                for arm, none in zip(row, nones, strict=True)
            )
            for row, nones in zip(cells, failed.tolist(), strict=True)
        ),
        seeds=len(seeds),
        metric=findings.compared_on,
        selected_on=findings.selected_on,
        margin=findings.margin,
        confidence=100 - 100 * family.level,
        base=strategies.index(_TIMES) if strategies.count(_TIMES) == 1 else None,
    )


def rates_tables(found: Rates) -> list[Table]:
    """Return a row a way: its best rate and what the shared one costs; and scores by rate."""
    shared = found.found.shared
    header = ["arm", "best rate", "by seed"]
    if found.base is not None:
        header.append(f"times {found.ways[found.base]}'s")
    if shared is not None:
        header += [f"cost of {found.rates[shared]:g} for all", "verdict"]
    rows = []
    for way, (name, one) in enumerate(zip(found.ways, found.found.ways, strict=True)):
        row = [name, f"{found.rates[one.place]:g}", _counts([found.rates[n] for n in one.by_seed])]
        if found.base is not None:
            row.append("" if way == found.base else _times(found, way))
        if shared is not None:
            row += [_cost(one, found.metric), found.verdict(way)]
        rows.append(tuple(row))
    by_rate = tuple(
        (
            name,
            *(why or measured(score, found.metric) for score, why in zip(row, gaps, strict=True)),
        )
        for name, row, gaps in zip(found.ways, found.scores.tolist(), found.gaps, strict=True)
    )
    names = (f"{rate:g}" for rate in found.rates)
    return [
        Table("Best rates", tuple(header), tuple(rows)),
        Table(f"Test {found.metric} by rate", ("arm", *names), by_rate),
    ]


def about_rates(found: Rates) -> tuple[str, ...]:
    """Return in sentences what rates the arms want, and what one for all would cost them."""
    return tuple(said for said in (_want(found), _all(found), *_multiples(found)) if said)


def _want(found: Rates) -> str:
    """Say which rates are best on validation, and which of them lie at an end of the grid."""
    by_rate: dict[int, list[str]] = {}
    for name, one in zip(found.ways, found.found.ways, strict=True):
        by_rate.setdefault(one.place, []).append(name)
    best = [
        f"{found.rates[place]:g} for {listed(names) if len(by_rate) > 1 else 'every arm'}"
        for place, names in sorted(by_rate.items())
    ]
    said = f"Of {len(found.rates)} rates the best on validation ({found.selected_on}) is "
    said += f"{'; '.join(best)}."
    for place, which in ((0, "smallest"), (len(found.rates) - 1, "largest")):
        if place in by_rate:
            said += f" {found.rates[place]:g} is the {which} that was tried: beyond may be better."
    return said


def _all(found: Rates) -> str:
    """Say what one rate for all costs."""
    shared = found.found.shared
    if shared is None:
        return "No rate has all seeds of every arm, so that none is shared."
    rate, margin = f"{found.rates[shared]:g}", gap(found.margin, found.metric)
    groups: dict[str, list[int]] = {}
    for way in range(len(found.ways)):
        groups.setdefault(found.verdict(way), []).append(way)
    if len(groups.get(SAME, [])) == len(found.ways):
        return f"One rate for all arms, {rate}, is the best of each, whichever seed is left out."
    parts = []
    if ways := groups.get(COSTS):
        parts.append(f"costs {_costs(found, ways)}")
    if ways := groups.get(UNDECIDED):
        less = f"whether that is less than {margin} is not decided"
        parts.append(f"costs {_costs(found, ways)}, and {less}")
    if ways := groups.get(WITHIN):
        who = "any arm" if len(ways) == len(found.ways) else listed([found.ways[w] for w in ways])
        most = max(ways, key=lambda way: found.found.ways[way].cost or 0.0)
        much = f": at most {_costs(found, [most])}" if len(ways) > 1 else f": {_ends(found, most)}"
        parts.append(f"costs {who} less than {margin}{much}")
    if ways := groups.get(GAINS):
        parts.append(f"gains {_costs(found, ways, sign=-1)}")
    if ways := groups.get(SAME):
        parts.append(f"is that of {listed([found.ways[way] for way in ways])}")
    sure = f"{confident(1 - found.confidence / 100)} confidence for all at once"
    return (
        f"One rate for all arms, {rate}, in place of the best of each {'; it '.join(parts)} "
        f"({sure})."
    )


def _multiples(found: Rates) -> list[str]:
    """Say how many times that of full fine-tuning the best rates are."""
    if found.base is None:
        return []
    name = found.ways[found.base]
    said = []
    for way, other in enumerate(found.ways):
        if way == found.base:
            continue
        times = found.times(way)
        ratio = found.rates[found.found.ways[way].place]
        ratio /= found.rates[found.found.ways[found.base].place]
        interval = median_interval(times)
        held = (
            "too few seeds for an interval"
            if interval is None
            else f"95% interval of the median over seeds {interval.low:.3g} to {interval.high:.3g}"
        )
        said.append(
            f"The best rate of {other} is {ratio:.3g} times that of {name} ({held}; by seed: "
            f"{_counts(times)})."
        )
    return said


def _grids(
    arms: Sequence[ArmFindings],
) -> dict[frozenset[tuple[str, str]], dict[float, ArmFindings]]:
    """Return arms by their rate, of each way with enough of them; in the order of their names."""
    ways: dict[frozenset[tuple[str, str]], dict[float, ArmFindings]] = {}
    for arm in sorted(arms, key=lambda one: _in_order(one.name)):
        params = arm.arm.first.params
        if RATE not in params:
            continue
        same = frozenset(
            (key, value)
            for key, value in params.items()
            if key != RATE and not within(key, NO_NAMES)
        ) | {("precision", arm.arm.first.precision), *arm.arm.apart.items()}
        ways.setdefault(same, {})[float(params[RATE])] = arm
    return {way: grid for way, grid in ways.items() if len(grid) >= LEAST}


def _in_order(name: str) -> list[tuple[float, str]]:
    """Return what names are sorted by: numbers in them as numbers, rank=2 before rank=16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(float(part), "") if n % 2 else (0.0, part) for n, part in enumerate(parts)]


def _way(name: str) -> str:
    """Return an arm's name without its rate."""
    return re.sub(rf" {re.escape(RATE)}=\S+", "", name)


def _most(drawn: Iterable[set[Replicate]]) -> list[Replicate]:
    """Return the replicates that most arms have, in order."""
    counts = Counter(frozenset(one) for one in drawn)
    most, _ = max(counts.items(), key=lambda one: (one[1], len(one[0])))
    return sorted(most)


def _selected(arm: ArmFindings, seeds: Sequence[Replicate], findings: Findings) -> list[float]:
    """Return the validation metric of an arm's seeds, higher is better; nan where one failed."""
    name = f"best/val_{findings.selected_on}"
    sign = -1 if findings.selected_on in LOWER_IS_BETTER else 1
    by_seed = {run.replicate: run.metrics.get(name, np.nan) for run in arm.arm.runs}
    return [sign * by_seed.get(seed, np.nan) for seed in seeds]


def _gap(arm: ArmFindings, seeds: Sequence[Replicate], *, tested: bool) -> str:
    """Say why an arm has no score over the seeds: what came of its runs, or that there are none."""
    lost = {run.replicate: str(run.status) for run in arm.arm.lost}
    missing = [seed for seed in seeds if seed not in arm.arm.replicates]
    fates = {lost[seed] for seed in missing if seed in lost}
    if len(fates) > 1:
        return "failed"
    if fates:
        return fates.pop()
    if missing:
        return "not on these seeds"
    return "not measured" if tested else "not tested"


def _counts(values: Sequence[float]) -> str:
    """Write values over seeds: ``0.002 in 4, 0.005 in 1``."""
    counts = sorted(Counter(values).items())
    return ", ".join(f"{value:.3g} in {count}" for value, count in counts)


def _times(found: Rates, way: int) -> str:
    """Write how many times that of the base a way's best rate is, with its interval over seeds."""
    base = found.found.ways[found.base or 0].place
    ratio = f"{found.rates[found.found.ways[way].place] / found.rates[base]:.3g}"
    interval = median_interval(found.times(way))
    return ratio if interval is None else f"{ratio} ({interval.low:.3g} to {interval.high:.3g})"


def _costs(found: Rates, ways: Sequence[int], *, sign: int = 1) -> str:
    """Write by how much ways are worse: ``lora rank=16 0.42 points (0.10 to 0.74)``."""
    return listed([f"{found.ways[way]} {_ends(found, way, sign)}" for way in ways])


def _ends(found: Rates, way: int, sign: int = 1) -> str:
    one = found.found.ways[way]
    assert one.cost is not None
    assert one.interval is not None
    interval = one.interval if sign > 0 else Interval(-one.interval.high, -one.interval.low)
    value, unit = sign * one.cost, gap(one.cost, found.metric).partition(" ")[2]
    ends = f"{signed(interval.low, found.metric)} to {signed(interval.high, found.metric)}"
    return f"{signed(value, found.metric)} {unit}".rstrip() + f" ({ends})"


def _cost(one: BestRate, metric: str) -> str:
    """Write a cost as a cell."""
    if one.cost is None or one.interval is None:
        return "0"
    ends = f"{signed(one.interval.low, metric)} to {signed(one.interval.high, metric)}"
    return f"{signed(one.cost, metric)} ({ends})"
