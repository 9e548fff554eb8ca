"""Picture of ranks over tasks: Demsar's critical difference diagram, one line an arm."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adapterlab.base.amounts import counted
from adapterlab.drawing.canvas import INK, VERBATIM
from adapterlab.drawing.figures import BLACK, BLUE, MUTED, plain
from adapterlab.evidence.tasks import rank_by_task
from adapterlab.reporting.figures.layout import (
    SIZE,
    Key,
    fitted_apart,
    sheet,
    write_below,
    write_right,
)
from adapterlab.reporting.tables.tasks import TaskFindings

_GAP = 0.22
"""Ranks between two bars of groups, which begin after the last rank."""


def ranks_figure(found: TaskFindings) -> Figure:
    """Draw mean ranks, the best on top, and upright bars over arms that are not told apart.

    Small dots are the ranks on single tasks, which are fewer than they look: ranks of tasks that
    agree lie on each other.
    """
    arms, test = found.arms, found.test
    figure = sheet(0.9 + 0.34 * len(arms))
    axes = figure.subplots()
    plain(axes, grid="x")
    by_task = _ranks_by_task(found)
    for y, arm in enumerate(arms):
        ranks = by_task[y]
        axes.plot(ranks, [y + 0.24] * len(ranks), "o", ms=3.5, mew=0, alpha=0.5, color=BLUE)
        axes.plot([arm.rank], [y], "D" if y == 0 else "o", ms=8, color=BLACK if y == 0 else BLUE)
        write_right(axes, y, f"{arm.rank:.2f}")
    bars = _draw_groups(axes, found)
    if not test.too_few:
        axes.plot([1, 1 + test.critical_difference], [-0.75] * 2, "|-", color=INK, lw=1.4, ms=8)
        text = f"critical difference {test.critical_difference:.2f}"
        axes.annotate(
            text, (1 + test.critical_difference, -0.75), (6, 0), textcoords="offset points",
            va="center", fontsize=SIZE, color=INK, annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(len(arms) - 0.4, -1.1 if not test.too_few else -0.6)
    axes.set_xlim(0.8, max(len(arms) + 0.3 + _GAP * bars, 1))
    axes.set_xticks(range(1, len(arms) + 1))
    names = fitted_apart([arm.name for arm in arms], 2.6)
    axes.set_yticks(range(len(arms)), [names[arm.name] for arm in arms], **VERBATIM)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("rank, 1 the best", color=INK)
    keys = [
        Key(Line2D([], [], color=BLUE, marker="o", ms=8, ls=""), "mean rank over tasks"),
        Key(Line2D([], [], color=BLUE, marker="o", ms=3.5, mew=0, alpha=0.5, ls=""), "one task"),
    ]
    if bars:
        keys.append(Key(Line2D([], [], color=MUTED, lw=4), "not told apart"))
    write_below(figure, keys, _notes(found))
    return figure


def _ranks_by_task(found: TaskFindings) -> list[list[float]]:
    means = [[arm.means[task] for arm in found.arms] for task in found.tasks]
    ranks: list[list[float]] = rank_by_task(means).T.tolist()
    return ranks


def _draw_groups(axes: Axes, found: TaskFindings) -> int:
    """Draw an upright bar for each group of two or more arms, and return how many."""
    groups = [group for group in found.test.groups if len(group) > 1]
    for number, group in enumerate(groups):
        x = len(found.arms) + 0.3 + _GAP * number
        ends = min(group) - 0.18, max(group) + 0.18
        axes.plot([x, x], ends, color=MUTED, lw=4, solid_capstyle="butt")
    return len(groups)


def _notes(found: TaskFindings) -> list[str]:
    test = found.test
    tasks, arms = counted(test.tasks, "task"), counted(len(found.arms), "arm")
    if test.too_few:
        return [
            f"{tasks} cannot tell {arms} apart by ranks, whatever they show; that takes "
            f"{test.enough} or more."
        ]
    if test.p >= test.level:
        return [f"Over {tasks}, ranks do not tell any of {arms} apart."]
    return []
