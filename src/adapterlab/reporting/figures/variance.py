"""Where the luck of an arm's accuracy comes from, as bars."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from adapterlab.drawing.canvas import INK
from adapterlab.drawing.figures import BLUE, plain
from adapterlab.evidence.variance import Luck
from adapterlab.reporting.figures.layout import SKY, Key, sheet, write_below, write_right
from adapterlab.reporting.sentences.luck import deviation_said


def variance_figure(luck: Luck) -> Figure:
    """Draw the standard deviation that each component gives a run, with its 95% interval."""
    figure = sheet(0.7 + 0.36 * len(luck.components))
    axes = figure.subplots()
    plain(axes, grid="x")
    for y, one in enumerate(luck.components):
        colour = BLUE if one.name in luck.rules else SKY
        axes.barh(y, 100 * one.deviation, height=0.55, color=colour)
        ends = 100 * one.interval.low, 100 * one.interval.high
        axes.plot(ends, (y, y), "|-", color=INK, lw=1.4, ms=8)
        beside = f"{deviation_said(one)}  {one.share:.0%}"
        write_right(axes, y, beside)
    axes.set_ylim(len(luck.components) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(luck.components)), [one.name for one in luck.components])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("standard deviation of a run's accuracy (percentage points)", color=INK)
    keys = [Key(Patch(facecolor=BLUE), "may be the largest")]
    if len(luck.rules) < len(luck.components):
        keys.append(Key(Patch(facecolor=SKY), "is not the largest"))
    keys.append(Key(Line2D([], [], color=INK, marker="|", ms=8, lw=1.4), "95% interval"))
    write_below(figure, keys, ["At the right: the deviation, and its share of the variance."])
    return figure
