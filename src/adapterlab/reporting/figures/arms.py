"""Pictures of the arms of a study: how good they are, how they got there, what they forgot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from adapterlab.drawing.canvas import INK, PAPER, VERBATIM, inches
from adapterlab.drawing.figures import (
    BLACK,
    BLUE,
    MUTED,
    percent,
    plain,
    within_shares,
)
from adapterlab.reporting.figures.epoch_scales import scale_of
from adapterlab.reporting.figures.layout import (
    COLOURS,
    SIZE,
    Key,
    across,
    dot,
    is_narrow,
    letters,
    looks,
    marked,
    may_be_best,
    one_seed_each,
    reference_note,
    runs_lost,
    sheet,
    short_names,
    write_at_points,
    write_below,
)
from adapterlab.reporting.findings import ArmFindings, Curve, Estimate, Findings, estimate
from adapterlab.reporting.formatting import least_of, title_of, within

_BEST = "*"
_SEED: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4.6, "mec": PAPER, "mew": 0.6}
_SEED_POINTS = 4.0
_HEAP_STEP, _HEAP_MOST = 2.6 / 72, 0.4
"""Inches between marks of a heap, and from the first to the last of one."""

_COLOURED = 8
_EPOCHS_WITH_MARKERS = 10


def accuracy_figure(findings: Findings) -> Figure:
    """Draw each arm's test accuracy with its 95% interval, the best mean on top.

    Beside it stand the mean, the arm's letters where arms have any, and the verdict on it.
    """
    arms, reference = findings.arms, findings.reference
    beside = _columns(arms, reference)
    room = sum(width for _, width in beside)
    # A narrow sheet has no room at the sides of the panel: names and all else stand above bars.
    above = 0.24 if is_narrow() else 0.0
    names = short_names(arms, across() - room - 0.2 if above else 2.6)
    sides = 0.2 if above else inches(names.values(), SIZE) + room + 0.5
    low, high = _reach(arms, least_of(findings.main))
    point = 1.1 * (high - low) / (72 * max(across() - sides, 1.5))
    heaps = [_heaped(arm.accuracy.values, _SEED_POINTS * point) for arm in arms]
    # Rows as high as the highest heap of seeds needs.
    highest = max(map(max, heaps))
    step = min(_HEAP_STEP, _HEAP_MOST / max(highest, 1))
    pitch = 0.36 + above + highest * step
    figure = sheet(0.7 + pitch * len(arms))
    axes = figure.subplots()
    plain(axes, grid="x")
    centre, spread = reference.accuracy.mean, reference.accuracy.interval
    if spread is not None:
        axes.axvspan(spread.low, spread.high, color=BLACK, alpha=0.08, lw=0, zorder=0)
    axes.axvline(centre, color=BLACK, lw=1, zorder=1)
    for y, (arm, heap) in enumerate(zip(arms, heaps, strict=True)):
        look, accuracy = _look(arm, reference), arm.accuracy
        style: dict[str, Any] = {"color": look["color"], "clip_on": False}
        if accuracy.interval is not None:
            ends = accuracy.interval.low, accuracy.interval.high
            axes.plot(ends, (y, y), lw=2.2, solid_capstyle="butt", color=look["color"])
        if len(accuracy.values) > 1:
            # Under the mean, not behind it, and under each other: seeds that agree would be hidden.
            below = [y + (0.125 + step * level) / pitch for level in heap]
            seeds = {**_SEED, "color": look["color"], "clip_on": False}
            axes.plot(accuracy.values, below, **seeds)
        axes.plot([accuracy.mean], [y], **{**style, **look})
        at = -room if above else 0.08
        for texts, width in beside:
            _write(axes, y, 1, (at, above), texts[y])
            at += width
        if above:
            _write(axes, y, 0, (0, above), names[arm.name])
    axes.set_xlabel(f"{title_of(findings.main)} on the test split", color=INK)
    below_last = (0.18 + highest * step) / pitch
    axes.set_ylim(len(arms) - 1 + below_last, -(0.2 + above) / pitch)
    axes.set_yticks(
        range(len(arms)), ["" if above else names[arm.name] for arm in arms], **VERBATIM
    )
    axes.tick_params(axis="y", length=0)
    wide = low - 0.05 * (high - low), high + 0.05 * (high - low)
    axes.set_xlim(*within(wide, findings.main))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(percent)
    _write_accuracy_key(figure, findings)
    return figure


def _write(axes: Axes, y: int, side: float, shift: tuple[float, float], text: str) -> None:
    """Write in the row of an arm, some inches right of and above an end of the panel."""
    paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 1} if shift[1] and text else None
    axes.annotate(
        text, (side, y), (72 * shift[0], 72 * shift[1]), axes.get_yaxis_transform(),
        "offset points", va="center", fontsize=SIZE, color=INK, annotation_clip=False,
        bbox=paper, **VERBATIM,
    )  # fmt: skip


def _write_accuracy_key(figure: Figure, findings: Findings) -> None:
    arms, reference = findings.arms, findings.reference
    notes = []
    bar = Line2D([], [], color=BLUE, marker="o", ms=8, lw=2.2)
    keys = [Key(bar, "mean and 95% interval")]
    if any(len(arm.accuracy.values) > 1 for arm in arms):
        keys.append(Key(Line2D([], [], **{**_SEED, "color": BLUE}), "one seed"))
    if one_seed_each(findings):
        keys = [Key(bar, "the one seed, 95% interval by its test examples")]
        if all(arm.accuracy.interval is None for arm in arms):
            keys = [Key(Line2D([], [], color=BLUE, marker="o", ms=8, ls=""), "the one seed")]
        notes = ["One seed for each arm: the spread between seeds is not known."]
    if len(arms) > 1:
        keys.append(Key(Line2D([], [], lw=2.2, **_look(reference, reference)), "the reference"))
    if any(may_be_best(arm) for arm in arms):
        star = Line2D([], [], color=BLUE, marker=_BEST, ms=11, ls="")
        keys.append(Key(star, "may be best"))
    if any(map(letters, arms)):
        notes.append("Arms that share a letter are not told apart.")
    metric = getattr(findings, "compared_on", findings.main)
    if metric != findings.main:
        notes.append(f"Arms are compared, and marked, by {metric}, which is not drawn here.")
    write_below(figure, keys, notes)


def _look(arm: ArmFindings, reference: ArmFindings) -> dict[str, Any]:
    """Return the mark of an arm's mean: a star if it may be best, the reference in black."""
    colour = BLACK if arm is reference else BLUE
    if may_be_best(arm):
        return {"color": colour, "marker": _BEST, "ms": 11, "mew": 0}
    return {"color": colour, "marker": "D" if arm is reference else "o", "ms": 8}


def _columns(arms: Sequence[ArmFindings], reference: ArmFindings) -> list[tuple[list[str], float]]:
    """Return what stands beside arms, in columns, and the inches that each takes."""
    said = [", ".join(filter(None, (_said(arm, reference), runs_lost(arm)))) for arm in arms]
    if len(arms) == 1:
        said = [runs_lost(arm) for arm in arms]
    columns = [[f"{arm.accuracy.mean:.1%}" for arm in arms], [*map(letters, arms)], said]
    return [(texts, inches(texts, SIZE) + 0.1) for texts in columns if any(texts)]


def _said(arm: ArmFindings, reference: ArmFindings) -> str:
    if arm is reference:
        return "reference"
    return "not compared" if arm.comparison is None else str(arm.comparison.verdict)


def _reach(arms: Sequence[ArmFindings], least: float) -> tuple[float, float]:
    """Return the least and the greatest accuracy that is drawn, a bit apart at least."""
    drawn = [value for arm in arms for value in arm.accuracy.values]
    for arm in arms:
        if (spread := arm.accuracy.interval) is not None:
            drawn += [max(spread.low, least), min(spread.high, 1.0)]
    low, high = min(drawn), max(drawn)
    short = max(0.0, 0.01 - (high - low)) / 2
    return low - short, high + short


def _heaped(values: Sequence[float], apart: float) -> list[int]:
    """Return the level of each mark, so that none of a level are less than `apart` from each other.

    Levels begin at 0; marks that would lie on each other stand in a heap.
    """
    levels = [0] * len(values)
    last: list[float] = []
    for i in sorted(range(len(values)), key=lambda i: values[i]):
        free = (level for level, at in enumerate(last) if values[i] - at >= apart)
        levels[i] = next(free, len(last))
        last[levels[i] : levels[i] + 1] = [values[i]]
    return levels


def curves_figure(findings: Findings) -> Figure | None:
    """Draw training loss and what runs were selected on, by epoch; None without histories."""
    names = list(dict.fromkeys(("train/loss", f"val/{findings.selected_on}")))
    names = [name for name in names if any(name in arm.curves for arm in findings.arms)]
    if not names:
        return None
    panels = (len(names), 1) if is_narrow() else (1, len(names))
    figure = sheet(2.6 * len(names) if is_narrow() else 3.1)
    coloured = (findings.reference, *findings.others[: _COLOURED - 1])
    # All others first, so that nothing that has a name is hidden.
    rest = [arm for arm in findings.arms if arm not in coloured]
    styles: dict[str, dict[str, Any]] = {
        arm.name: {"color": MUTED, "lw": 0.7, "alpha": 0.6} for arm in rest
    }
    for i, arm in enumerate(coloured):
        colour = BLACK if i == 0 else COLOURS[i - 1]
        styles[arm.name] = {"color": colour, "lw": 1.8, "ls": "--" if i % 2 else "-"}
    for axes, name in zip(np.ravel(figure.subplots(*panels)), names, strict=True):
        plain(axes, grid="both")
        for arm in (*rest, *reversed(coloured)):
            if name in arm.curves:
                _draw_curve(axes, arm.curves[name], styles[arm.name], band=arm in coloured)
        axes.set_xlabel("epoch", color=INK)
        axes.set_ylabel(scale_of(name, findings.main), color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        if name == "val/accuracy":
            axes.set_ylim(*within_shares(axes.get_ylim()))
            axes.yaxis.set_major_formatter(percent)
    short = marked(findings, short_names(coloured, 3.0))
    keys = [Key(Line2D([], [], **styles[arm.name]), short[arm.name]) for arm in coloured]
    if rest:
        others = f"{len(rest)} other {'arm' if len(rest) == 1 else 'arms'}"
        keys.append(Key(Line2D([], [], **styles[rest[0].name]), others))
    write_below(figure, keys, reference_note(findings))
    return figure


def forgetting_figure(findings: Findings) -> Figure | None:
    """Draw accuracy gained on the target against accuracy lost on the source task.

    None where accuracy on the source task was not measured after adaptation.
    """
    lost = {arm.name: one for arm in findings.arms if (one := _lost(arm)) is not None}
    arms = [arm for arm in findings.arms if arm.name in lost]
    if not arms:
        return None
    figure = sheet(4.2)
    axes = figure.subplots()
    plain(axes, grid="both")
    styles = looks(findings)
    before = [
        level for arm in arms if (level := arm.figure(f"target/{arm.main}_before")) is not None
    ]
    zero_shot = float(np.mean([level.mean for level in before])) if before else None
    along, cut_along = _needed([lost[arm.name] for arm in arms], 0.5, near=0.0)
    up, cut_up = _needed([arm.accuracy for arm in arms], 0.005, near=zero_shot)
    up = within(up, findings.main)
    for arm in arms:
        look, mean = styles[arm.strategy], lost[arm.name].mean
        style: dict[str, Any] = {"color": look.colour, "lw": 1.1, "alpha": 0.7}
        if arm.accuracy.interval is not None:
            axes.plot([mean] * 2, [arm.accuracy.interval.low, arm.accuracy.interval.high], **style)
        if (spread := lost[arm.name].interval) is not None:
            axes.plot([spread.low, spread.high], [arm.accuracy.mean] * 2, **style)
        axes.plot([mean], [arm.accuracy.mean], look.marker, color=look.colour, ms=8, mec=PAPER)
    # Lines far from all marks would take the room that these need: the key has their values.
    if along[0] <= 0 <= along[1]:
        axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
    near = zero_shot is not None and up[0] <= zero_shot <= up[1]
    if zero_shot is not None and near:
        axes.axhline(zero_shot, color=MUTED, lw=1.2, ls=":")
    axes.set_xlabel("accuracy lost on the source task (points)", color=INK)
    axes.set_ylabel(f"{title_of(findings.main)} on the target's test split", color=INK)
    axes.set(xlim=along, ylim=up)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.yaxis.set_major_formatter(percent)
    short = marked(findings, short_names(arms, 3.0))
    numbers = {arm.name: number for number, arm in enumerate(findings.arms, start=1)}
    keys = [
        Key(dot(styles[arm.strategy]), f"{numbers[arm.name]}  {short[arm.name]}") for arm in arms
    ]
    notes = reference_note(findings)
    if near:
        line = Line2D([], [], color=MUTED, lw=1.2, ls=":")
        keys.append(Key(line, "target accuracy before adaptation (zero-shot)"))
    elif zero_shot is not None:
        where = "below" if zero_shot < up[0] else "above"
        notes.append(f"Target accuracy before adaptation (zero-shot): {zero_shot:.1%}, {where} "
                     "what is drawn.")  # fmt: skip
    if cut_along or cut_up:
        notes.append("Bars that reach the edge go on beyond it.")
    missing = len(findings.arms) - len(arms)
    if missing:
        notes.append(f"{missing} of {len(findings.arms)} arms: not measured on the source task.")
    write_below(figure, keys, notes)
    points = [(lost[arm.name].mean, arm.accuracy.mean, str(numbers[arm.name])) for arm in arms]
    write_at_points(figure, {axes: points})
    return figure


def _draw_curve(axes: Axes, curve: Curve, style: dict[str, Any], *, band: bool) -> None:
    seen = ~np.isnan(curve.values).all(axis=0)
    epochs, values = np.array(curve.epochs)[seen], curve.values[:, seen]
    few = band and len(epochs) <= _EPOCHS_WITH_MARKERS
    marker = "o" if few or len(epochs) == 1 else ""
    # A mean over the seeds that are left would leap where one stops: the line ends there.
    axes.plot(epochs, values.mean(axis=0), marker=marker, ms=3.5, **style)
    if band and len(values) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.13, lw=0)


def _needed(
    figures: Sequence[Estimate], least: float, *, near: float | None
) -> tuple[tuple[float, float], bool]:
    """Return the part of an axis that marks and their bars need, and whether it cuts off bars.

    Bars of a few seeds can be many times as long as all marks are apart, which then could not be
    told from each other.

    Args:
        figures: one a mark.
        least: half of the part of the axis, at least.
        near: a value that is drawn as well if half as much room again has it.
    """
    means = [figure.mean for figure in figures]
    bars = [spread for figure in figures if (spread := figure.interval) is not None]
    low, high = (choose([*means, *(value for figure in figures for value in figure.values)])
                 for choose in (min, max))  # fmt: skip
    room = max(high - low, 2 * least)
    short = max(0.0, 2 * least - (high - low)) / 2
    ends = low - short, high + short
    reach = (
        min([ends[0], *(bar.low for bar in bars)]),
        max([ends[1], *(bar.high for bar in bars)]),
    )
    cut = ends[0] - room / 2, ends[1] + room / 2
    shown = max(reach[0], cut[0]), min(reach[1], cut[1])
    with_near = shown if near is None else (min(*shown, near), max(*shown, near))
    if with_near[1] - with_near[0] > 1.5 * (shown[1] - shown[0]):
        with_near = shown
    margin = 0.07 * (with_near[1] - with_near[0])
    return (with_near[0] - margin, with_near[1] + margin), reach != shown


def _lost(arm: ArmFindings) -> Estimate | None:
    """Return accuracy lost on the source task, in percentage points; None if not measured."""
    before, after = (arm.figure(f"source/accuracy_{when}") for when in ("before", "after"))
    if before is None or after is None:
        return None
    return estimate([100 * (x - y) for x, y in zip(before.values, after.values, strict=True)])
