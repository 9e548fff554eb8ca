"""What accuracy costs: arms by parameters, bytes, time and memory, and what none beats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from adapterlab.drawing.canvas import INK, PAPER
from adapterlab.drawing.figures import MUTED, percent, plain
from adapterlab.evidence.pareto import pareto_front
from adapterlab.reporting.figures.layout import (
    Key,
    Look,
    dot,
    is_narrow,
    looks,
    marked,
    reference_note,
    sheet,
    short_names,
    write_at_points,
    write_below,
)
from adapterlab.reporting.findings import ArmFindings, Estimate, Findings
from adapterlab.reporting.formatting import title_of, within
from adapterlab.reporting.sentences.pack_sizes import unlike_packs

_MOST_TICKS = 5
_LOG_FROM = 8
"""How many times the least the most must be, for time and memory to be on a log axis."""


@dataclass(frozen=True, eq=False)
class _Cost:
    """What one panel has across.

    Attributes:
        label: of the axis, with the unit.
        alone, packed: the metrics of runs alone, and in packs; None for what packs do not change,
            or measure as a whole.
        write: a value as text.
        base: of a log axis; None: only if the values are far apart.
        measured: whether it depends on the machine.
    """

    label: str
    alone: str
    packed: str | None
    write: Callable[[float], str]
    base: int | None = None
    measured: bool = True

    def of(self, arm: ArmFindings) -> tuple[Estimate, bool] | None:
        """Return an arm's cost, and whether it is that of lanes; None if not measured."""
        if (alone := arm.figure(self.alone)) is not None:
            return alone, False
        packed = None if self.packed is None else arm.figure(self.packed)
        return None if packed is None else (packed, True)


def _count(value: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _size(value: float) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} B"


def _plain(value: float) -> str:
    return f"{value:.4g}"


_COSTS = (
    _Cost("trainable parameters", "params/trainable", None, _count, 10, measured=False),
    _Cost("adapter's size on disk", "cost/adapter_bytes", None, _size, 2, measured=False),
    _Cost("training time of a run (s)", "cost/train_seconds", "cost/lane_seconds", _plain),
    _Cost("peak memory of a run (MiB)", "cost/peak_memory_mib", None, _plain),
)


def pareto_figure(findings: Findings) -> Figure | None:
    """Draw accuracy against costs, with the fronts of what no arm beats; None without costs."""
    costs, notes = [], []
    for cost in _COSTS:
        why = _left_out(cost, findings.arms)
        if why is None:
            costs.append(cost)
            if missing := len(findings.arms) - len(_means(cost, findings.arms)):
                of = f"{missing} of {len(findings.arms)} arms"
                notes.append(f"{cost.label}: not measured alike in all runs of {of}.")
        else:
            notes.append(f"Not drawn: {cost.label}: {why}.")
    if not costs:
        return None
    columns = 1 if is_narrow() else min(2, len(costs))
    rows = ceil(len(costs) / columns)
    figure = sheet(0.2 + 2.6 * rows)
    styles = looks(findings)
    panels = list(np.ravel(figure.subplots(rows, columns, sharey=True)))
    fronts = [
        _draw(axes, cost, findings.arms, styles) for axes, cost in zip(panels, costs, strict=False)
    ]
    for axes in panels[len(costs) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel(f"test {title_of(findings.main)}", color=INK)
    panels[0].margins(y=0.12)
    panels[0].set_ylim(*within(panels[0].get_ylim(), findings.main))
    panels[0].yaxis.set_major_formatter(percent)
    numbers = {arm.name: number for number, arm in enumerate(findings.arms, start=1)}
    labelled = [arm for arm in findings.arms if any(arm.name in front for front in fronts)]
    keys = _keys(findings, labelled, styles)
    notes = [*reference_note(findings), *_time_note(costs, findings.arms), *notes]
    write_below(figure, keys, notes)
    points = {
        axes: [
            (_placed(cost, found[0].mean, findings.arms), arm.accuracy.mean,
             str(numbers[arm.name]) if arm.name in front else "")
            for arm in findings.arms if (found := cost.of(arm)) is not None
        ]
        for axes, cost, front in zip(panels, costs, fronts, strict=False)
    }  # fmt: skip
    write_at_points(figure, points)
    return figure


def _left_out(cost: _Cost, arms: Sequence[ArmFindings]) -> str | None:
    """Return why a panel is not drawn, None if it is."""
    found = [cost.of(arm) for arm in arms]
    machines = {run.tags.get("hardware.id") for arm in arms for run in arm.arm.runs}
    if cost.alone == "cost/peak_memory_mib" and None in found:
        packed = sum(bool(arm.arm.values("cost/pack_peak_memory_mib")) for arm in arms)
        if packed:
            return f"{packed} of {len(arms)} arms ran in packs, measured as a whole"
    if all(one is None for one in found):
        return "not measured"
    if cost.measured and len(machines) > 1:
        return f"measured on {len(machines)} kinds of hardware"
    return None


def _draw(
    axes: Axes, cost: _Cost, arms: Sequence[ArmFindings], styles: dict[str, Look]
) -> set[str]:
    """Draw a panel, and return the names of the arms on its fronts."""
    plain(axes, grid="both")
    axes.set_xlabel(cost.label, color=INK)
    fronts: set[str] = set()
    for packed in (False, True):
        group = [
            (arm, found[0]) for arm in arms
            if (found := cost.of(arm)) is not None and found[1] == packed
        ]  # fmt: skip
        for arm, spent in group:
            look, at = styles[arm.strategy], _placed(cost, spent.mean, arms)
            line: dict[str, Any] = {"color": look.colour, "lw": 1.1, "alpha": 0.7}
            if (spread := arm.accuracy.interval) is not None:
                axes.plot([at, at], [spread.low, spread.high], **line)
            if cost.measured and (spread := spent.interval) is not None:
                # Time is above 0, whatever a symmetric interval says.
                low = max(spread.low, 0.1 * spent.mean)
                axes.plot([low, spread.high], [arm.accuracy.mean] * 2, **line)
            face = PAPER if packed else look.colour
            axes.plot([at], [arm.accuracy.mean], look.marker, mec=look.colour, mfc=face, ms=7)
        best = pareto_front([one.mean for _, one in group], [a.accuracy.mean for a, _ in group])
        fronts |= {group[i][0].name for i in best}
        if len(best) > 1:
            x = [_placed(cost, group[i][1].mean, arms) for i in best]
            y = [group[i][0].accuracy.mean for i in best]
            dashes = "--" if packed else "-"
            axes.plot(x, y, drawstyle="steps-post", color=MUTED, lw=1.1, ls=dashes, zorder=1)
    _scale(axes, cost, arms)
    return fronts


def _means(cost: _Cost, arms: Sequence[ArmFindings]) -> list[float]:
    return [found[0].mean for arm in arms if (found := cost.of(arm)) is not None]


def _placed(cost: _Cost, value: float, arms: Sequence[ArmFindings]) -> float:
    """Return where a cost stands: on a log axis, 0 stands left of all else."""
    above = [mean for mean in _means(cost, arms) if mean > 0]
    return min(above) / 4 if cost.base and above and value <= 0 else value


def _scale(axes: Axes, cost: _Cost, arms: Sequence[ArmFindings]) -> None:
    means = _means(cost, arms)
    above = [mean for mean in means if mean > 0]
    far_apart = bool(above) and max(above) >= _LOG_FROM * min(above)
    if not above or not (cost.base or far_apart):
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        return
    low, high = min(above), max(above)
    if 0 in means:
        low = _placed(cost, 0, arms)
    reach = max(1.4, (high / low) ** 0.08)
    axes.set_xscale("log")
    axes.set_xlim(low / reach, high * reach)
    ticks = _log_ticks(min(above) / reach, high * reach, cost.base or 10)
    zero = [low] if 0 in means else []
    axes.set_xticks([*zero, *ticks], [*("0" for _ in zero), *map(cost.write, ticks)])
    axes.xaxis.set_minor_locator(NullLocator())


def _log_ticks(low: float, high: float, base: int) -> list[float]:
    """Choose at most five round numbers, by doublings or by 1, 2, 5, 10."""
    powers = range(floor(log(low, base)), ceil(log(high, base)) + 1)
    steps = (1, 2, 5) if base == 10 else (1,)
    fine = [step * float(base) ** power for power in powers for step in steps]
    coarse = [float(base) ** power for power in powers]
    for ticks in (fine, coarse):
        seen = [tick for tick in ticks if low <= tick <= high]
        if len(seen) <= _MOST_TICKS:
            return seen
    return seen[:: ceil(len(seen) / _MOST_TICKS)]


def _keys(
    findings: Findings, labelled: Sequence[ArmFindings], styles: dict[str, Look]
) -> list[Key]:
    short = marked(findings, short_names(labelled, 3.0))
    keys = [
        Key(dot(styles[arm.strategy]), f"{number}  {short[arm.name]}")
        for number, arm in enumerate(findings.arms, start=1) if arm.name in short
    ]  # fmt: skip
    named = {arm.strategy for arm in labelled}
    bare = sorted({arm.strategy for arm in findings.arms} - named)
    keys += [Key(dot(styles[name]), f"{name} (beaten at every cost)") for name in bare]
    return keys


def _time_note(costs: Sequence[_Cost], arms: Sequence[ArmFindings]) -> list[str]:
    """Say how times are told apart, where some were taken alone and some in packs."""
    kinds = {found[1] for cost in costs for arm in arms
             if cost.packed and (found := cost.of(arm)) is not None}  # fmt: skip
    unlike = (
        ["Packs were not of one size, and a larger one has less for each run: the notes say whose."]
        if unlike_packs(arms)
        else []
    )
    if kinds == {False, True}:
        return [
            "Training time: filled marks and solid line, runs that were trained by themselves; "
            "hollow marks and dashed line, runs that shared a pack.",
            *unlike,
        ]
    return ["Training time: that of runs that shared a pack.", *unlike] if True in kinds else []
