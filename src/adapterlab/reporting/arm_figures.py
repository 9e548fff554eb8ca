"""Pictures of the arms of a study: how good they are, how they got there, what they forgot."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from adapterlab.reporting.canvas import INK, PAPER, VERBATIM
from adapterlab.reporting.figures import (
    BLACK,
    BLUE,
    MUTED,
    percent,
    plain,
    within_shares,
    write_beside,
)
from adapterlab.reporting.findings import ArmFindings, Curve, Estimate, Findings, estimate
from adapterlab.reporting.sheets import (
    COLOURS,
    SIZE,
    Key,
    dot,
    looks,
    marked,
    one_seed_each,
    reference_note,
    sheet,
    short_names,
    write_at_points,
    write_below,
)

_COLOURED = 8
_EPOCHS_WITH_MARKERS = 10

_SCALES = {
    "train/loss": "training loss (nats)",
    "val/accuracy": "validation accuracy",
    "val/macro_f1": "validation macro F1",
    "val/loss": "validation loss (nats)",
}


def accuracy_figure(findings: Findings) -> Figure:
    """Draw each arm's test accuracy with its 95% t interval, the best mean on top."""
    arms, reference = findings.arms, findings.reference
    figure = sheet(0.7 + 0.36 * len(arms))
    axes = figure.subplots()
    plain(axes, grid="x")
    centre, spread = reference.accuracy.mean, reference.accuracy.interval
    if spread is not None:
        axes.axvspan(spread.low, spread.high, color=BLACK, alpha=0.08, lw=0, zorder=0)
    axes.axvline(centre, color=BLACK, lw=1, zorder=1)
    for y, arm in enumerate(arms):
        colour = BLACK if arm is reference else BLUE
        accuracy = arm.accuracy
        style: dict[str, Any] = {"color": colour, "clip_on": False}
        if accuracy.interval is not None:
            ends = accuracy.interval.low, accuracy.interval.high
            axes.plot(ends, (y, y), lw=2.2, solid_capstyle="butt", color=colour)
            # Under the mean, not behind it: seeds that agree would be hidden.
            below = [y + 0.27] * len(accuracy.values)
            axes.plot(accuracy.values, below, "o", ms=3.5, mew=0, alpha=0.6, **style)
        axes.plot([accuracy.mean], [y], "D" if arm is reference else "o", ms=8, **style)
        verdict = "reference" if arm.comparison is None else arm.comparison.verdict
        beside = f"{accuracy.mean:.1%}  {verdict}"
        write_beside(axes, 1, y, beside, va="center", fontsize=SIZE, color=INK)
    axes.set_xlabel("accuracy on the test split", color=INK)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    names = short_names(arms, 2.6)
    axes.set_yticks(range(len(arms)), [names[arm.name] for arm in arms], **VERBATIM)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.05)
    axes.set_xlim(*within_shares(axes.get_xlim()))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(percent)
    if one_seed_each(findings):
        write_below(figure, [], ["One seed for each arm: the spread between seeds is not known."])
    else:
        bar = Line2D([], [], color=BLUE, marker="o", ms=8, lw=2.2)
        seeds = Line2D([], [], color=BLUE, marker="o", ms=3.5, mew=0, alpha=0.6, ls="")
        mean = Line2D([], [], color=BLACK, marker="D", ms=8, lw=2.2)
        write_below(
            figure,
            [Key(bar, "mean and 95% interval"), Key(seeds, "one seed"), Key(mean, "the reference")],
            [],
        )
    return figure


def curves_figure(findings: Findings) -> Figure | None:
    """Draw training loss and what runs were selected on, by epoch; None without histories."""
    names = list(dict.fromkeys(("train/loss", f"val/{findings.selected_on}")))
    names = [name for name in names if any(name in arm.curves for arm in findings.arms)]
    if not names:
        return None
    figure = sheet(3.1)
    coloured = (findings.reference, *findings.others[: _COLOURED - 1])
    # All others first, so that nothing that has a name is hidden.
    rest = [arm for arm in findings.arms if arm not in coloured]
    styles: dict[str, dict[str, Any]] = {
        arm.name: {"color": MUTED, "lw": 0.7, "alpha": 0.6} for arm in rest
    }
    for i, arm in enumerate(coloured):
        colour = BLACK if i == 0 else COLOURS[i - 1]
        styles[arm.name] = {"color": colour, "lw": 1.8, "ls": "--" if i % 2 else "-"}
    for axes, name in zip(np.ravel(figure.subplots(1, len(names))), names, strict=True):
        plain(axes, grid="both")
        for arm in (*rest, *reversed(coloured)):
            if name in arm.curves:
                _draw_curve(axes, arm.curves[name], styles[arm.name], band=arm in coloured)
        axes.set_xlabel("epoch", color=INK)
        axes.set_ylabel(_SCALES.get(name, name), color=INK)
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
    before = [level for arm in arms if (level := arm.figure("target/accuracy_before")) is not None]
    if before:
        zero_shot = float(np.mean([level.mean for level in before]))
        axes.axhline(zero_shot, color=MUTED, lw=1.2, ls=":")
    for arm in arms:
        look, mean = styles[arm.strategy], lost[arm.name].mean
        style: dict[str, Any] = {"color": look.colour, "lw": 1.1, "alpha": 0.7}
        if arm.accuracy.interval is not None:
            axes.plot([mean] * 2, [arm.accuracy.interval.low, arm.accuracy.interval.high], **style)
        if (spread := lost[arm.name].interval) is not None:
            axes.plot([spread.low, spread.high], [arm.accuracy.mean] * 2, **style)
        axes.plot([mean], [arm.accuracy.mean], look.marker, color=look.colour, ms=8, mec=PAPER)
    axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
    axes.set_xlabel("accuracy lost on the source task (percentage points)", color=INK)
    axes.set_ylabel("accuracy on the target's test split", color=INK)
    axes.margins(0.08)
    axes.set_ylim(*within_shares(axes.get_ylim()))
    axes.yaxis.set_major_formatter(percent)
    short = marked(findings, short_names(arms, 3.0))
    numbers = {arm.name: number for number, arm in enumerate(findings.arms, start=1)}
    keys = [
        Key(dot(styles[arm.strategy]), f"{numbers[arm.name]}  {short[arm.name]}") for arm in arms
    ]
    if before:
        line = Line2D([], [], color=MUTED, lw=1.2, ls=":")
        keys.append(Key(line, "target accuracy before adaptation (zero-shot)"))
    missing = len(findings.arms) - len(arms)
    notes = reference_note(findings)
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


def _lost(arm: ArmFindings) -> Estimate | None:
    """Return accuracy lost on the source task, in percentage points; None if not measured."""
    before, after = (arm.figure(f"source/accuracy_{when}") for when in ("before", "after"))
    if before is None or after is None:
        return None
    return estimate([100 * (x - y) for x, y in zip(before.values, after.values, strict=True)])
