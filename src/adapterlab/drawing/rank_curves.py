"""Pictures of what a choice of ranks saw."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from adapterlab.drawing.canvas import INK, draw_scale, framed
from adapterlab.drawing.figures import BLACK, BLUE, MUTED, VERMILION, percent, plain


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


def explained_figure(
    curves: Mapping[str, Sequence[float]], ranks: Mapping[str, int], mean: int, title: str
) -> Figure:
    """Draw how much of the variance of each layer's inputs a rank explains, and what it was given.

    Args:
        curves: share of the variance by rank, from 1, of each layer in forward order.
        ranks: that each layer was given; 0 where it has no adapter.
        mean: the rank that all layers would have under the same budget.
        title: the figure's title.
    """
    figure, axes = framed(title, (0.8, 6.0, 2.6 if len(curves) <= _NAMED else 0.3), (0.6, 3.4))
    plain(axes, grid="both")
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(curves)))
    for (name, shares), colour in zip(curves.items(), colours, strict=True):
        axes.plot(range(1, len(shares) + 1), shares, color=colour, linewidth=1.4)
        rank = ranks[name]
        label = f"{name}: {rank or 'none'}"
        places = ([rank], [shares[rank - 1]]) if rank else ([], [])
        axes.plot(*places, color=colour, marker="o", linestyle="", label=label)
    style: dict[str, Any] = {"color": BLACK, "linestyle": ":", "linewidth": 1.2}
    axes.axvline(mean, **style)
    axes.plot([], [], label=f"mean rank: {mean}", **style)
    if len(curves) <= _NAMED:
        axes.legend(
            frameon=False, fontsize=9, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1)
        )
    axes.set_xlabel("rank; dots are what was given", color=INK)
    axes.set_ylabel("variance of the inputs explained", color=INK)
    axes.set_xlim(0.5, max(len(shares) for shares in curves.values()) + 0.5)
    axes.set_ylim(0, 1.005)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    for axis in (axes.xaxis, axes.yaxis):
        draw_scale(axis)
    return figure


def importance_figure(
    importances: Mapping[str, float], ranks: Mapping[str, int], title: str
) -> Figure:
    """Draw how much the loss asks the weights of each layer to change, and the rank it was given.

    Args:
        importances: mean of |W ∘ G| of each layer in forward order.
        ranks: that each was given; 0 where it has no adapter.
        title: the figure's title.
    """
    figure, axes = framed(title, (2.6, 4.6, 0.8), (0.6, max(1.2, 0.26 * len(importances))))
    plain(axes, grid="x")
    places = range(len(importances))
    bars = axes.barh(places, list(importances.values()), color=BLUE, height=0.7)
    labels = [f"rank {ranks[name]}" if ranks[name] else "none" for name in importances]
    axes.bar_label(bars, labels, padding=3, fontsize=9, color=INK)
    axes.set_yticks(places, list(importances))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(importances.values()) or 1)
    axes.set_xlabel("mean of |weight x gradient|", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    draw_scale(axes.xaxis)
    return figure


_NAMED = 12
