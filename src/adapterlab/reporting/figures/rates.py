"""A grid of learning rates, drawn: the mean test score of each way to train by rate."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adapterlab.drawing.canvas import INK, PAPER, VERBATIM
from adapterlab.drawing.figures import percent, plain, within_shares
from adapterlab.reporting.figures.layout import (
    COLOURS,
    MARKERS,
    SIZE,
    Key,
    across,
    crowded,
    fitted_apart,
    sheet,
    write_below,
)
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.formatting import is_share, title_of
from adapterlab.reporting.rates import rates_of

_KEY_WIDTH = 3.2


def rates_figure(findings: Findings) -> Figure | None:
    """Draw a line a way, its best rate on validation filled; None if the study has no grid."""
    found = rates_of(findings)
    if found is None:
        return None
    figure = sheet(3.4)
    axes = figure.subplots()
    plain(axes, grid="both")
    axes.set_xscale("log")
    keys, names = [], fitted_apart(found.ways, _KEY_WIDTH)
    for way, (name, scores) in enumerate(zip(found.ways, found.scores, strict=True)):
        colour = COLOURS[way % len(COLOURS)]
        marker = MARKERS[(way + way // len(COLOURS)) % len(MARKERS)]
        line: dict[str, Any] = {"color": colour, "marker": marker, "lw": 1.5, "ms": 5.5}
        whole = ~np.isnan(scores)
        axes.plot(np.array(found.rates)[whole], scores[whole], mfc=PAPER, zorder=3, **line)
        place = found.found.ways[way].place
        filled = {**line, "ls": "", "ms": 9, "mec": PAPER, "mew": 0.8}
        axes.plot(found.rates[place], scores[place], zorder=4, **filled)
        keys.append(Key(Line2D([], [], mfc=colour, **line), names[name]))
    rates = [f"{rate:g}" for rate in found.rates]
    axes.set_xticks(found.rates, rates)
    axes.minorticks_off()
    for label in axes.get_xticklabels():
        label.set(fontsize=SIZE, **VERBATIM)
    if crowded(found.rates, rates, across() - 1, log=True):
        axes.tick_params(axis="x", labelrotation=90)
    axes.set_xlabel("optimizer.lr (logarithmic scale)", color=INK, **VERBATIM)
    axes.set_ylabel(f"test {title_of(found.metric)}", color=INK)
    if is_share(found.metric):
        axes.set_ylim(*within_shares(axes.get_ylim()))
        axes.yaxis.set_major_formatter(percent)
    notes = [f"Means over {found.seeds} seeds. Filled: the best rate on validation."]
    if bool(np.isnan(found.scores).any()):
        notes.append("Rates of which a seed failed, or is missing, are not drawn.")
    write_below(figure, keys, notes)
    return figure
