"""Pictures of results: pure functions from arrays to matplotlib figures.

No figure passes through pyplot, so nothing is global: they can be drawn in any thread, without a
display, and are freed with their last reference. Colours are those of Okabe and Ito, "Color
Universal Design" (2008), which people with any common colour vision tell apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from adapterlab.drawing.canvas import (
    DPI,
    INK,
    PAPER,
    VERBATIM,
    draw_scale,
    framed,
    inches,
    panel,
    show,
    write_in,
)

BLUE, VERMILION, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
GREYS = mpl.colormaps["gray"]
MUTED, RULE = "#6B6B6B", "#DDDDDD"

_CELLS_WITH_COUNTS = 20
_CLASSES_WITH_NAMES = 100
_EPOCHS_WITH_MARKERS = 30

_LINES = {
    "train": {"label": "training", "color": BLUE, "linestyle": "-", "marker": "o"},
    "val": {"label": "validation", "color": VERMILION, "linestyle": "--", "marker": "s"},
}


def confusion_matrix_figure(
    matrix: npt.NDArray[np.integer[Any]], classes: Sequence[str], title: str
) -> Figure:
    """Draw counts by true class (rows) and predicted class (columns).

    A cell's colour is its share of its row, so that the diagonal shows recall whatever the
    class sizes are. Counts are written while there are at most 20 classes, and every class is
    named while there are at most 100. A class without examples has no shares: its row is grey,
    and its name says so.

    Args:
        matrix: counts, ``[C, C]``.
        classes: the C class names.
        title: the figure's title.

    Raises:
        ValueError: if ``matrix`` is not ``[C, C]``.
    """
    n = len(classes)
    if matrix.shape != (n, n):
        raise ValueError(f"matrix of shape {matrix.shape} for {n} classes; expected [{n}, {n}]")
    examples = matrix.sum(axis=1, keepdims=True)
    shares = np.ma.masked_where(
        np.broadcast_to(examples == 0, matrix.shape), matrix / np.maximum(examples, 1)
    )

    side = float(np.clip(0.5 * n, 3.5, 10))
    cell_points = 72 * side / n
    named = range(0, n, -(-n // _CLASSES_WITH_NAMES))
    names = [" ".join(classes[i].split()) for i in named]
    missing = ["" if examples[i] else " (no examples)" for i in named]
    rows = [name + note for name, note in zip(names, missing, strict=True)]
    size = min(9.0, 0.85 * cell_points * named.step)
    widest = inches(names, size)
    sideways = widest > 0.9 * side / n * named.step
    left, below = 0.6 + inches(rows, size), 0.6 + (widest if sideways else 0.2)
    figure, axes = framed(title, (left, side, 1.2), (below, side))
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    cmap = mpl.colormaps["Blues"].with_extremes(bad=RULE)
    image = show(axes, shares, (-0.5, n - 0.5, n - 0.5, -0.5), cmap=cmap, clim=(0, 1))
    axes.set_xlabel("predicted class", color=INK)
    axes.set_ylabel("true class", color=INK)
    axes.tick_params(colors=INK, labelsize=size)
    axes.tick_params(axis="x", labelrotation=90 if sideways else 0)
    draw_scale(axes.xaxis, dict(zip(named, names, strict=True)))
    draw_scale(axes.yaxis, dict(zip(named, rows, strict=True)))
    axes.spines[:].set_visible(False)

    x, y, width, height = axes.get_position().bounds
    place = figure.add_axes((x + width * (1 + 0.12 / side), y, width * 0.17 / side, height))
    bar = figure.colorbar(image, cax=place, format=FuncFormatter(percent))
    bar.set_label("share of the true class", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=9)
    bar.outline.set_visible(False)
    draw_scale(bar.ax.yaxis)

    if n <= _CELLS_WITH_COUNTS:
        points = min(9.0, 1.4 * cell_points / len(str(matrix.max())))
        colours = np.asarray(image.to_rgba(shares))
        cells = (
            (column, row, str(count), legible_on(colours[row, column]))
            for (row, column), count in np.ndenumerate(matrix)
        )
        write_in(axes, cells, points)
    return figure


def learning_curves_figure(
    history: Mapping[str, Sequence[tuple[int, float]]],
    title: str,
    best_epoch: int | None = None,
    metric: str = "accuracy",
) -> Figure:
    """Draw loss and a metric over epochs, training and validation apart by colour and line style.

    Args:
        history: (epoch, value) pairs under ``train/loss``, ``val/loss``, ``train/accuracy`` and
            ``val/accuracy``; other keys are not drawn. A panel without a curve says so.
        title: the figure's title.
        best_epoch: the epoch whose weights were kept, marked in both panels.
        metric: accuracy, or the main metric of another task.
    """
    # Wide enough for losses of many digits at the left; `save` cuts what stays empty.
    width = max(12.0, inches([title], 12) + 0.2)
    figure = Figure(figsize=(width, 3.75), dpi=DPI, facecolor=PAPER)
    figure.suptitle(title, color=INK, **VERBATIM)
    loss, accuracy = (panel(figure, width / 2 + x, 0.55, 3.8, 2.6) for x in (-4.25, 0.45))
    _draw_curves(loss, history, "loss", best_epoch)
    _draw_curves(accuracy, history, metric, best_epoch)
    if loss.lines and not 1e-3 < loss.get_ylim()[1] < 1e7:
        loss.yaxis.set_major_formatter("{x:.4g}")
    what = "squared error" if metric == "r2" else "cross-entropy (nats)"
    loss.set_ylabel(what, color=INK)
    accuracy.set_ylabel(metric, color=INK)
    if accuracy.lines:
        accuracy.yaxis.set_major_formatter(percent)
        if metric != "r2":  # which may be below 0
            accuracy.set_ylim(*within_shares(accuracy.get_ylim()))
    for axes in (loss, accuracy):
        draw_scale(axes.xaxis)
        draw_scale(axes.yaxis)
    return figure


def _draw_curves(
    axes: Axes,
    history: Mapping[str, Sequence[tuple[int, float]]],
    metric: str,
    best_epoch: int | None,
) -> None:
    _title(axes, metric)
    plain(axes, grid="both")
    axes.set_xlabel("epoch", color=INK)
    curves = {split: history.get(f"{split}/{metric}", ()) for split in _LINES}
    epochs = [epoch for points in curves.values() for epoch, _ in points]
    if not epochs:
        _write_missing(axes, 0.5)
        axes.set(xticks=[], yticks=[])
        return
    for split, points in curves.items():
        if points:
            (line,) = axes.plot(*zip(*points, strict=True), markersize=4.5, linewidth=1.6)
            line.set(**_LINES[split])
            # A lone point has no line: only its marker is seen.
            if len(points) > _EPOCHS_WITH_MARKERS:
                line.set_marker("")
    if best_epoch is not None:
        label = f"best epoch: {best_epoch}"
        axes.axvline(best_epoch, color=BLACK, linestyle=":", linewidth=1.2, label=label, zorder=1)
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    # `_Scale` writes no factor or offset of all numbers.
    axes.ticklabel_format(style="plain", useOffset=False)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)


def _write_missing(axes: Axes, y: float) -> None:
    axes.text(
        0.5,
        y,
        "not measured",
        transform=axes.get_yaxis_transform(),
        ha="center",
        va="center",
        fontsize=9,
        style="italic",
        color=MUTED,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 3},
    )


def _title(axes: Axes, text: str) -> None:
    # Without a height of its own, matplotlib looks for one whenever it draws.
    axes.set_title(text, loc="left", y=1, fontsize=11, fontweight="bold", color=INK)


def plain(axes: Axes, grid: Literal["x", "both"]) -> None:
    """Leave of the frame what carries meaning, and draw a faint grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=RULE, linewidth=0.6, axis=grid)
    axes.set_axisbelow(True)


def percent(share: float, _: float | None) -> str:
    """Write a share of an axis in percent; matplotlib passes the tick's place as well."""
    return f"{100 * share:.4g}%"


def within_shares(limits: tuple[float, float]) -> tuple[float, float]:
    """Cut an axis to 0 to 1, with room for half a line at both ends."""
    return max(limits[0], -0.005), min(limits[1], 1.005)


def legible_on(rgba: npt.NDArray[np.floating[Any]]) -> str:
    """Choose dark or white text, whichever contrasts more by WCAG 2's relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3]]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return BLACK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else PAPER
