"""What tuning found: validation by what was tried, and what more tries were worth."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from adapterlab.drawing.canvas import INK, PAPER, VERBATIM
from adapterlab.drawing.figures import percent, plain, within_shares
from adapterlab.reporting.figures.layout import (
    COLOURS,
    MARKERS,
    SIZE,
    WIDTH,
    Key,
    crowded,
    fitted_apart,
    sheet,
    write_below,
)
from adapterlab.reporting.formatting import is_share
from adapterlab.reporting.tuning_study import ArmTuning, Setting, TuningFindings

_KEY_WIDTH = 3.2
_ARMS_WITH_BANDS = 2
_LOG_FROM = 8.0
"""Ratio of the largest to the smallest number from which a logarithmic scale is used."""


def tuning_figure(findings: TuningFindings) -> Figure | None:
    """Draw how the arms were tuned, a line each; None if no arm tried two settings.

    At the left the validation metric by what was tried, the chosen one filled; at the right the
    expected best over the number of settings tried.
    """
    arms = [arm for arm in findings.arms if len(arm.settings) > 1]
    if not arms:
        return None
    settings = sorted({one for arm in arms for one in arm.settings}, key=str)
    places = _places(settings)
    names = [", ".join(_written(value) for value in setting) for setting in places]
    many = len(places) > 12
    figure = sheet(3.4 if not many else 4.2, width=WIDTH)
    by_value, by_number = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    _draw_scores(by_value, arms, places)
    _draw_curves(by_number, arms)
    _label(by_value, findings, places, names, many=many)
    by_number.set_xlabel("settings tried, in random order", color=INK)
    by_number.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    by_number.set_title("expected best", fontsize=10, color=INK, loc="left")
    by_value.set_title("every setting", fontsize=10, color=INK, loc="left")
    by_value.set_ylabel(f"validation {findings.metric}", color=INK)
    if is_share(findings.metric):
        by_value.set_ylim(*within_shares(by_value.get_ylim()))
        by_value.yaxis.set_major_formatter(percent)
    shown = fitted_apart([arm.name for arm in arms], _KEY_WIDTH)
    keys = [
        Key(Line2D([], [], **_style(n), mfc=_style(n)["color"]), shown[arm.name])
        for n, arm in enumerate(arms)
    ]
    write_below(figure, keys, _notes(findings, arms))
    return figure


def _notes(findings: TuningFindings, arms: Sequence[ArmTuning]) -> list[str]:
    notes = ["Filled: the setting that the arm is run with."]
    seeds = {len(arm.seeds) for arm in arms}
    if max(seeds) > 1:
        notes[0] += f" Bars: ± a standard deviation over {'/'.join(map(str, sorted(seeds)))} seeds."
    if len(arms) <= _ARMS_WITH_BANDS:
        notes.append("Bands: the best so far in at least 80% of all orders.")
    pruned = sum(score is not None for arm in arms for score in arm.early)
    if pruned:
        notes.append(
            f"Crosses: pruned, at the best until then ({pruned} in all), so that the expected best "
            "is at least what is drawn."
        )
    if failed := sum(score is None for arm in arms for score in arm.scores) - pruned:
        notes.append(f"Settings with a run that failed are not drawn ({failed} in all).")
    lost = [arm.name for arm in arms if arm.chosen is None]
    if lost:
        notes.append(f"All failed: {', '.join(lost)}.")
    regret = findings.regret
    if regret is not None and regret.place is not None:
        setting = ", ".join(_written(value) for value in findings.shared[regret.place])
        cost = regret.means[regret.place] or 0.0
        much = f"{100 * cost:.2f} points" if is_share(findings.metric) else f"{cost:.4f}"
        options = " and ".join(findings.options)
        notes.append(
            f"One {options} for all arms would cost them {much} of validation {findings.metric} on "
            f"average, at {setting}."
            if cost
            else f"{options} {setting} is the best of every arm."
        )
    return notes


def _places(settings: Sequence[Setting]) -> dict[Setting, float]:
    """Return where each setting stands: a single number at itself, others in a row."""
    if _in_order(settings):
        return {one: float(one[0]) for one in sorted(settings)}
    ordered = sorted(settings, key=lambda one: [_rank(value) for value in one])
    return {one: float(n) for n, one in enumerate(ordered)}


def _in_order(settings: Iterable[Setting]) -> bool:
    """Say whether settings are numbers of one option, which a line may join."""
    return all(len(one) == 1 and isinstance(one[0], float) for one in settings)


def _rank(value: float | str) -> tuple[bool, float, str]:
    return (False, value, "") if isinstance(value, float) else (True, 0.0, value)


def _draw_scores(axes: Axes, arms: Sequence[ArmTuning], places: dict[Setting, float]) -> None:
    plain(axes, grid="both")
    for n, arm in enumerate(arms):
        style = _style(n)
        early = [
            (places[setting], score)
            for setting, score in zip(arm.settings, arm.early, strict=True)
            if score is not None
        ]
        if early:
            cross = {**style, "ls": "", "marker": "x", "alpha": 0.6}
            axes.plot(*zip(*early, strict=True), **cross, zorder=2)
        points = [
            (places[setting], score, spread, place == arm.chosen)
            for place, (setting, score, spread) in enumerate(
                zip(arm.settings, arm.scores, arm.spreads, strict=True)
            )
            if score is not None
        ]
        if not points:
            continue
        x, y = [point[0] for point in points], [point[1] for point in points]
        axes.plot(x, y, **style | ({} if _in_order(places) else {"ls": ""}), mfc=PAPER, zorder=3)
        for at, score, spread, chosen in points:
            if spread is not None:
                ends = [score - spread, score + spread]
                axes.plot([at, at], ends, lw=1.2, color=style["color"], zorder=2)
            if chosen:
                filled = {**style, "ls": "", "ms": 9, "mec": PAPER, "mew": 0.8}
                axes.plot(at, score, **filled, zorder=4)


def _draw_curves(axes: Axes, arms: Sequence[ArmTuning]) -> None:
    plain(axes, grid="both")
    axes.tick_params(labelleft=False)
    for n, arm in enumerate(arms):
        points = [(point.n, point.mean) for point in arm.curve if point.mean is not None]
        if points:
            axes.plot(*zip(*points, strict=True), **_style(n), mfc=PAPER, zorder=3)
        ranges = [
            (point.n, point.low, point.high)
            for point in arm.curve
            if point.low is not None and point.high is not None
        ]
        if len(arms) <= _ARMS_WITH_BANDS and ranges:
            tried, low, high = np.array(ranges).T
            band: dict[str, Any] = {"color": _style(n)["color"], "alpha": 0.12, "lw": 0}
            axes.fill_between(tried, low, high, **band, zorder=1)


def _label(
    axes: Axes,
    findings: TuningFindings,
    places: dict[Setting, float],
    names: Sequence[str],
    *,
    many: bool,
) -> None:
    at = list(places.values())
    scale = ""
    if _in_order(places) and min(at) > 0 and max(at) / min(at) >= _LOG_FROM:
        axes.set_xscale("log")
        scale = " (logarithmic scale)"
    axes.set_xticks(at, names)
    axes.minorticks_off()
    if many or crowded(at, names, WIDTH * 0.48, log=bool(scale)):
        axes.tick_params(axis="x", labelrotation=90)
    for label in axes.get_xticklabels():
        label.set(fontsize=SIZE if not many else 7, **VERBATIM)
    axes.set_xlabel(", ".join(findings.options) + scale, color=INK, **VERBATIM)


def _written(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else value


def _style(n: int) -> dict[str, Any]:
    marker = MARKERS[(n + n // len(COLOURS)) % len(MARKERS)]
    return {"color": COLOURS[n % len(COLOURS)], "marker": marker, "lw": 1.5, "ms": 5.5}
