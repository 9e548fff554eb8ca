"""Pictures of what a model gets wrong: its hardest classes, its surest mistakes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adapterlab.drawing.canvas import (
    DPI,
    INK,
    PAPER,
    VERBATIM,
    draw_scale,
    framed,
    inches,
    show,
)
from adapterlab.drawing.figures import BLACK, GREYS, MUTED, VERMILION, percent, plain
from adapterlab.drawing.wording import one_line, rounded
from adapterlab.evidence.mistakes import ClassMistakes, WrongAnswer, wilson_interval

PICTURES = 20
"""The most examples that a contact sheet shows."""

_BARS, _PICTURES_A_ROW = 30, 5
_CELL_INCHES, _GAP_INCHES, _CAPTION_INCHES = 1.7, 0.15, 0.45


def per_class_figure(classes: Sequence[ClassMistakes], names: Sequence[str], title: str) -> Figure:
    """Draw the share of each class that is wrong, with its 95% Wilson interval.

    The classes stand in the order given, the first on top, and the first 30 are drawn. One
    without examples has no bar, and its name says so.

    Args:
        classes: hardest first.
        names: the C class names, by class index.
        title: the figure's title.
    """
    drawn = classes[:_BARS]
    missing = ["" if one.examples else " (no examples)" for one in drawn]
    ticks = [one_line(names[one.label], 40) + missing[y] for y, one in enumerate(drawn)]
    known = {y: one for y, one in enumerate(drawn) if one.examples}
    counts = {y: f"{one.wrong:,} of {one.examples:,}" for y, one in known.items()}
    found = [(one.share, *wilson_interval(one.wrong, one.examples)) for one in known.values()]
    shares, low, high = np.array(found, dtype=float).reshape(-1, 3).T
    # 8 inches across, unless the names leave too little of it to the bars.
    left, right = 0.2 + inches(ticks, 9), 0.2 + inches(counts.values(), 9)
    across = left, max(3.5, 8 - left - right), right
    figure, axes = framed(one_line(title, 80), across, (0.75, 0.6 + 0.27 * len(drawn)))
    axes.set_xlabel("share of the class's test examples that is misclassified", color=INK)
    plain(axes, grid="x")
    axes.barh(list(known), shares, height=0.62, color=VERMILION)
    reach = [shares - low, high - shares]
    axes.errorbar(shares, list(known), xerr=reach, fmt="none", ecolor=BLACK, capsize=2.5, lw=1)
    beside = axes.get_yaxis_transform()
    for y, count in counts.items():
        axes.text(1.015, y, count, transform=beside, va="center", fontsize=9, color=INK)
    # A whole interval of 100% would lose half of its end cap.
    axes.set(xlim=(0, min(1.005, 1.04 * high.max(initial=0)) or 1), ylim=(len(drawn) - 0.4, -0.6))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(percent)
    draw_scale(axes.xaxis)
    draw_scale(axes.yaxis, dict(enumerate(ticks)))
    note = "lines: 95% Wilson intervals"
    if len(drawn) < len(classes):
        note = f"the hardest {len(drawn)} of {len(classes)} classes; {note}"
    figure.supxlabel(note, fontsize=8.5, color=MUTED)
    return figure


def contact_sheet(
    images: npt.NDArray[np.uint8], answers: Sequence[WrongAnswer], names: Sequence[str], title: str
) -> Figure:
    """Draw wrong examples side by side, five in a row, with "true → predicted, 97%" under each.

    Args:
        images: ``[N, C, H, W]``, of 1 channel (grey) or 3 (RGB); none: the sheet says so.
        answers: the wrong examples in the same order; those beyond the N-th are not drawn.
        names: the class names, by class index.
        title: the figure's title.
    """
    n, _, height, width = images.shape
    # Very flat or tall pictures are fitted into their cell.
    cell_height = _CELL_INCHES * float(np.clip(height / width, 0.4, 2))
    rows = max(1, -(-n // _PICTURES_A_ROW))
    step_x, step_y = _CELL_INCHES + _GAP_INCHES, cell_height + _CAPTION_INCHES
    heading = one_line(title, 80)
    size = max(_PICTURES_A_ROW * step_x, inches([heading], 12) + 0.2), rows * step_y + 0.45
    figure = Figure(figsize=size, dpi=DPI, facecolor=PAPER)
    left, top = _GAP_INCHES / 2 / size[0], 1 - 0.05 / size[1]
    figure.text(left, top, heading, va="top", fontsize=12, color=INK, **VERBATIM)
    if not n:
        nothing, top = "no test example is misclassified", 1 - 0.45 / size[1]
        figure.text(left, top, nothing, va="top", style="italic", color=MUTED)
        return figure
    # One panel, in inches, holds all: one for each picture would take longer than all else.
    sheet = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(0, size[1]))
    sheet.axis("off")
    pixel = min(_CELL_INCHES / width, cell_height / height)
    interpolation = "nearest" if pixel * DPI >= 1 else "antialiased"
    frames = []
    for i, (image, one) in enumerate(zip(images, answers, strict=False)):
        row, column = divmod(i, _PICTURES_A_ROW)
        x, bottom = (column + 0.5) * step_x, size[1] - 0.45 - row * step_y - cell_height
        left, right, top = x - width * pixel / 2, x + width * pixel / 2, bottom + height * pixel
        style = {"cmap": GREYS, "clim": (0, 255), "interpolation": interpolation}
        shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        show(sheet, shown, (left, right, bottom, top), **style)
        frames.append([(left, bottom), (left, top), (right, top), (right, bottom)])
        text = _caption(one, names)
        caption = sheet.text(x, bottom - 4 / 72, text, ha="center", va="top", **VERBATIM)
        caption.set(fontsize=8 / max(1, inches([text], 8) / _CELL_INCHES), color=INK)
    sheet.add_collection(PolyCollection(frames, facecolors="none", edgecolors=MUTED, lw=0.8))
    return figure


def _caption(one: WrongAnswer, names: Sequence[str]) -> str:
    true, predicted = (one_line(names[label], 24) for label in (one.label, one.prediction))
    line = f"{true} → {predicted}, {rounded(one.confidence, 0)}"
    return line if len(line) <= 26 else line.replace(" → ", " →\n", 1)
