"""Pictures of answers: which classes are hard, what is taken for what, what confidence is worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from adapterlab.drawing.canvas import INK, PAPER, VERBATIM, inches
from adapterlab.drawing.figures import BLUE, MUTED, RULE, legible_on, percent, plain
from adapterlab.evidence.arrays import Floats
from adapterlab.evidence.calibration import Bin, reliability
from adapterlab.reporting.figures.layout import (
    SIZE,
    across,
    fitted,
    fitted_apart,
    is_narrow,
    marked,
    reference_note,
    sheet,
    short_names,
    write_below,
)
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.reading.logged import Answers

_CLASSES, _ARMS, _MULTIPLES = 30, 30, 6
_NARROW_CLASSES = 8
_CELLS_WITH_NUMBERS, _CLASSES_WITH_NUMBERS = 150, 10
_BINS = 15
"""Those of `expected_calibration_error`."""

_FEW = 20
"""Answers in a bin below which its accuracy says little."""

_SHADES = "cividis"


def classes_figure(findings: Findings) -> Figure | None:
    """Draw the share of each class that is wrong, by arm; None where no answers were kept."""
    tested, others = _of_one_list(
        [(arm, arm.answers) for arm in findings.arms if arm.answers is not None], findings
    )
    if not tested:
        return None
    names = tested[0][1].classes
    shares = np.stack([answers.wrong_by_class() for _, answers in tested])
    known = np.flatnonzero(~np.isnan(shares).any(axis=0))
    order = known[np.argsort(-shares[:, known].mean(axis=0), kind="stable")]
    narrow = is_narrow()
    columns, rows = order[: _NARROW_CLASSES if narrow else _CLASSES], tested[:_ARMS]
    wrong = shares[: len(rows), columns]

    ticks = list(fitted_apart([names[i] for i in columns], 1.4).values())
    labels = short_names([arm for arm, _ in rows], 1.5 if narrow else 2.2)
    left = 0.3 + inches(labels.values(), SIZE)
    cell = (across() - left - (0.1 if narrow else 0.9)) / len(columns)
    sideways = inches(ticks, SIZE) > 0.9 * cell
    below = 0.3 + (inches(ticks, SIZE) if sideways else 0.2)
    figure = sheet(0.75 + below + max(1.0 if cell <= 0.4 else 0.4, 0.27 * len(rows)))
    axes = figure.subplots()
    mapped = _draw_matrix(axes, wrong, Normalize(0, max(float(wrong.max()), 0.01)))
    notes = []
    if narrow:
        _write_shares(axes, wrong, mapped, sign="")
        notes.append("Numbers: percent that is wrong, where it is not 0.")
    elif wrong.size <= _CELLS_WITH_NUMBERS and cell > 0.4:
        _write_shares(axes, wrong, mapped)
    else:
        _add_bar(figure, mapped, [axes], "share wrong", None)
    axes.set_xticks(range(len(columns)), ticks, rotation=90 if sideways else 0, **VERBATIM)
    axes.set_yticks(range(len(rows)), [labels[arm.name] for arm, _ in rows], **VERBATIM)
    axes.set_xlabel("true class, hardest on the left", color=INK)
    title = _title(shares[:, order], [names[i] for i in order], 1.0 if narrow else 2.5)
    figure.suptitle(title, fontsize=10, color=INK, **VERBATIM)
    if len(order) > len(columns):
        notes.append(f"Not drawn: {len(order) - len(columns)} classes with fewer mistakes.")
    if len(tested) > len(rows):
        notes.append(f"Not drawn: the {len(tested) - len(rows)} least accurate arms.")
    notes += others
    untested = sum(arm.answers is None for arm in findings.arms)
    if untested:
        notes.append(f"No answers were kept of {untested} of {len(findings.arms)} arms.")
    write_below(figure, [], notes)
    return figure


def confusion_figure(findings: Findings) -> Figure | None:
    """Draw what each class is taken for, by the reference and the five best other arms.

    None where no answers were kept, or for more than 30 classes; on a narrow sheet, which has
    three arms, for more than 10.
    """
    narrow = is_narrow()
    tested, others = _of_one_list(_answered(findings), findings)
    tested = tested[: 3 if narrow else _MULTIPLES]
    most = _CLASSES_WITH_NUMBERS if narrow else _CLASSES
    if not tested or len(tested[0][1].classes) > most:
        return None
    names = tested[0][1].classes
    n = len(names)
    columns = 1 if narrow else min(len(tested), 3 if n <= 5 else 2)
    rows = -(-len(tested) // columns)
    ticks = list(fitted_apart(names, 0.8 if narrow else 1.2).values())
    room = 0.5 + inches(ticks, SIZE)
    # On a narrow sheet, numbers do without a bar of shades.
    bar = 0.1 if narrow else 1.0
    side = min(3.2, (across() - room - bar) / columns)
    step = -(-int(np.ceil(0.15 * n / side * 100)) // 100)
    sideways = inches(ticks, SIZE) > 0.9 * side / n
    figure = sheet(
        rows * (side + 0.4) + room, width=min(across(), room + columns * (side + 0.1) + bar + 0.1)
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    norm = PowerNorm(0.5, 0, 1)
    titles = _titles(findings, tested, side)
    for i, (axes, (arm, answers)) in enumerate(zip(panels.flat, tested, strict=False)):
        counts = answers.confusion()
        examples = counts.sum(axis=1, keepdims=True)
        shares = np.ma.masked_where(
            np.broadcast_to(examples == 0, counts.shape), counts / np.maximum(examples, 1)
        )
        mapped = _draw_matrix(axes, shares, norm)
        axes.set_aspect("equal")
        if n <= _CLASSES_WITH_NUMBERS:
            _write_shares(axes, shares, mapped, sign="")
        axes.set_title(titles[arm.name], fontsize=SIZE, color=INK, **VERBATIM)
        shown = range(0, n, step)
        axes.set_xticks(
            shown, [ticks[k] for k in shown], rotation=90 if sideways else 0, **VERBATIM
        )
        axes.set_yticks(shown, [ticks[k] for k in shown], **VERBATIM)
        if i % columns == 0:
            axes.set_ylabel("true class", color=INK)
        if i + columns >= len(tested):
            axes.set_xlabel("predicted class", color=INK)
            axes.tick_params(labelbottom=True)
    _hide_rest(panels, len(tested))
    label = "share of the true class, mean over seeds"
    if not narrow:
        _add_bar(figure, mapped, list(panels.flat), label, [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    notes = reference_note(findings)
    if n <= _CLASSES_WITH_NUMBERS:
        notes.append("Numbers: percent of the true class, where it is not 0.")
    if step > 1:
        notes.append(f"One class in {step} is named.")
    write_below(figure, [], [*notes, *others])
    return figure


def calibration_figure(findings: Findings) -> Figure | None:
    """Draw accuracy by confidence, of the reference and the five best other arms.

    None where no answers were kept.
    """
    tested = _answered(findings)[:_MULTIPLES]
    if not tested:
        return None
    columns = min(len(tested), 2 if is_narrow() else 3)
    rows = -(-len(tested) // columns)
    left, gap = 0.85, 0.45
    side = min(2.6, (across() - left - 0.2) / columns - gap)
    strip, between, block = 0.5, 0.14, side + 1.25
    bins = [reliability(answers.confidence.ravel(), answers.correct.ravel(), bins=_BINS)
            for _, answers in tested]  # fmt: skip
    highest = max(one.count / sum(b.count for b in each) for each in bins for one in each)
    figure = sheet(
        0.15 + rows * block, width=min(across(), max(4.2, left + columns * (side + gap)))
    )
    width = figure.get_size_inches()[0]
    titles = _titles(findings, tested, side + gap)
    # Places by hand: a layout would make panels smaller where there is more to write.
    places: list[tuple[Axes, float, float, float]] = []
    for i, ((arm, _), each) in enumerate(zip(tested, bins, strict=True)):
        row, column = divmod(i, columns)
        x, top = left + column * (side + gap), 0.3 + row * block
        above, below = (figure.add_axes((0, k / 2, 1, 0.4), label=f"{i} {k}") for k in (1, 0))
        places += [(above, x, top, side), (below, x, top + side + between, strip)]
        _draw_reliability(above, below, each)
        below.set_ylim(0, highest * 1.05)
        below.yaxis.set_major_locator(MaxNLocator(nbins=2))
        above.set_title(titles[arm.name], fontsize=SIZE, color=INK, **VERBATIM)
        if (ece := arm.figure("test/ece")) is not None:
            text = f"ECE {100 * ece.mean:.1f}"
            if ece.interval is not None:
                text += f" ± {100 * ece.interval.half_width:.1f}"
            style: dict[str, Any] = {"ha": "right", "fontsize": SIZE, "color": INK}
            above.text(0.96, 0.05, text, transform=above.transAxes, **style)
        for axes in (above, below):
            axes.tick_params(labelleft=column == 0)
        above.tick_params(labelbottom=False)
        if column == 0:
            above.set_ylabel("share right" if is_narrow() else "share that is right", color=INK)
            below.set_ylabel("answers", color=INK)
            for axes in (above, below):
                axes.yaxis.set_label_coords(-0.62 / side, 0.5)
        if i + columns >= len(tested):
            below.set_xlabel("confidence", color=INK)
        else:
            below.tick_params(labelbottom=False)
    notes = reference_note(findings)
    shapes = {answers.correct.shape for _, answers in tested}
    of = f", of {_answers(*shapes.pop())} in all" if len(shapes) == 1 else ""
    notes.append(
        f"A dot: the answers whose confidence lies in one of {_BINS} equal ranges{of}; hollow "
        f"where they are fewer than {_FEW}. The strip below shows their share."
    )
    before = figure.get_size_inches()[1]
    write_below(figure, [], notes)
    figure.set_layout_engine("none")
    total = figure.get_size_inches()[1]
    grown = total - before
    for axes, x, top, high in places:
        axes.set_position((x / width, (before - top - high + grown) / total, side / width,
                           high / total))  # fmt: skip
    return figure


def _answers(seeds: int, examples: int) -> str:
    if seeds == 1:
        return f"{examples:,} answers"
    return f"{seeds * examples:,} answers ({seeds} seeds, {examples:,} examples)"


def _title(shares: Floats, names: Sequence[str], width: float) -> str:
    """Say which class is hardest for most arms, and for how many; of equal ones the leftmost."""
    if not shares.any():
        return "no class has a mistake"
    most = shares.max(axis=1, keepdims=True)
    hardest = (shares == most) & (most > 0)  # an arm without a mistake has no hardest class
    times = hardest.sum(axis=0)
    first, arms = int(times.argmax()), len(shares)
    alone = (hardest[hardest[:, first]].sum(axis=1) == 1).all()
    what = "the hardest class" if alone else "among the hardest classes"
    count = "the one arm" if arms == 1 else f"{times.max()} of {arms} arms"
    return f"{fitted(names[first], width, 10)} is {what} for {count}"


def _answered(findings: Findings) -> list[tuple[ArmFindings, Answers]]:
    """Return the reference and then the other arms, of those whose answers were kept."""
    arms = (findings.reference, *findings.others)
    return [(arm, arm.answers) for arm in arms if arm.answers is not None]


def _of_one_list(
    tested: list[tuple[ArmFindings, Answers]], findings: Findings
) -> tuple[list[tuple[ArmFindings, Answers]], list[str]]:
    """Keep the arms whose classes are the reference's, in its order; say how many others are."""
    if not tested:
        return [], []
    names = (findings.reference.answers or tested[0][1]).classes
    kept = [(arm, answers) for arm, answers in tested if answers.classes == names]
    left = len(tested) - len(kept)
    are = "arm has" if left == 1 else "arms have"
    return kept, [f"Not drawn: {left} {are} other classes, or another order of them."] * bool(left)


def _titles(
    findings: Findings, tested: Sequence[tuple[ArmFindings, Answers]], width: float
) -> dict[str, str]:
    return marked(findings, short_names([arm for arm, _ in tested], width - 0.2))


def _draw_matrix(axes: Axes, shares: Floats, norm: Normalize) -> QuadMesh:
    rows, columns = shares.shape
    axes.set_facecolor(RULE)
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    mapped = axes.pcolormesh(*edges, shares, cmap=_SHADES, norm=norm)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.tick_params(colors=INK, labelsize=SIZE, length=0)
    axes.spines[:].set_visible(False)
    return mapped


def _write_shares(axes: Axes, shares: Floats, mapped: QuadMesh, sign: str = "%") -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SIZE}
    for (row, column), share in np.ndenumerate(np.ma.filled(shares, np.nan)):
        if not np.isnan(share) and (sign or round(100 * share)):
            colour = legible_on(np.asarray(mapped.to_rgba(np.asarray(share))))
            axes.text(column, row, f"{100 * share:.0f}{sign}", color=colour, **style)


def _add_bar(
    figure: Figure, mapped: QuadMesh, panels: Sequence[Axes], label: str, ticks: list[float] | None
) -> None:
    # A bar of one width, however tall the figure is.
    aspect = 7 * figure.get_size_inches()[1]
    bar = figure.colorbar(
        mapped, ax=panels, ticks=ticks, format=FuncFormatter(percent), pad=0.02, aspect=aspect
    )
    bar.set_label(label, color=INK)
    bar.ax.tick_params(colors=INK, labelsize=SIZE)
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)


def _draw_reliability(above: Axes, strip: Axes, bins: Sequence[Bin]) -> None:
    for axes in (above, strip):
        plain(axes, grid="both")
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1])
        axes.set_xticklabels(["0%", "", "50%", "", "100%"])
        axes.yaxis.set_major_formatter(percent)
    above.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=":")
    style: dict[str, Any] = {"color": BLUE, "ms": 4, "lw": 1.4, "clip_on": False}
    points = np.array([(one.confidence, one.accuracy) for one in bins if one.count], dtype=float)
    few = np.array([one.count < _FEW for one in bins if one.count])
    for group, line, face in ((~few, "-", BLUE), (few, "", PAPER)):
        if group.any():
            above.plot(*points[group].T, marker="o", ls=line, mfc=face, **style)
    above.set_yticks([0, 0.25, 0.5, 0.75, 1])
    total = sum(one.count for one in bins)
    shares = [one.count / total for one in bins]
    lows = [one.low for one in bins]
    strip.bar(lows, shares, width=1 / _BINS, align="edge", color=BLUE, alpha=0.6, lw=0)


def _hide_rest(panels: npt.NDArray[Any], used: int) -> None:
    for axes in panels.flat[used:]:
        axes.set_visible(False)
