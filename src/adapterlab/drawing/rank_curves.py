"""Pictures of what a choice of ranks saw."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from adapterlab.drawing.canvas import INK, draw_scale, framed
from adapterlab.drawing.figures import BLACK, BLUE, MUTED, VERMILION, plain


def pruning_figure(
    points: Sequence[tuple[int, float]],
    whole: tuple[int, float],
    chosen: int,
    lowest: float,
    metric: str,
    title: str,
) -> Figure:
    """Draw what validation says of an adapter by the parameters that are kept of it.

    Args:
        points: parameters and score of each share that was tried.
        whole: parameters and score of the adapter as it was trained.
        chosen: the place of the chosen one among the points.
        lowest: the score below which none is chosen.
        metric: that the scores are of.
        title: the figure's title.
    """
    figure, axes = framed(title, (0.8, 6.0, 0.3), (0.6, 3.0))
    plain(axes, grid="both")
    in_order = sorted(points)
    axes.plot(*zip(*in_order, strict=True), color=BLUE, marker="o", markersize=4.5, label="pruned")
    axes.plot(*whole, color=BLACK, marker="D", linestyle="", label="as trained")
    axes.axhline(lowest, color=MUTED, linestyle=":", linewidth=1.2, label="lowest allowed")
    place = points[chosen]
    ring: dict[str, Any] = {"markersize": 11, "markeredgewidth": 2, "fillstyle": "none"}
    axes.plot(*place, color=VERMILION, marker="o", linestyle="", label="chosen", **ring)
    axes.set_xlabel("parameters of the updates", color=INK)
    axes.set_ylabel(f"{metric} on validation", color=INK)
    axes.set_xlim(0, 1.05 * max(whole[0], *(parameters for parameters, _ in points)))
    axes.ticklabel_format(style="plain", useOffset=False)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    for axis in (axes.xaxis, axes.yaxis):
        draw_scale(axis)
    return figure
