"""Which rank, and which alpha: mean test accuracy over the grid of the two."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from adapterlab.base import dotted_names
from adapterlab.drawing.canvas import INK, VERBATIM
from adapterlab.drawing.figures import VERMILION, legible_on, percent, plain
from adapterlab.evidence.verdicts import MIN_SEEDS, Verdict
from adapterlab.reporting.figures.layout import (
    COLOURS,
    MARKERS,
    SIZE,
    WIDTH,
    Key,
    fitted_apart,
    one_seed_each,
    sheet,
    write_below,
)
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.formatting import title_of, within
from adapterlab.reporting.reading.naming import SOURCE, SOURCE_DATA
from adapterlab.reporting.reading.study import NO_NAMES

_RANK, _ALPHA = "adapter.rank", "adapter.alpha"
_GRIDS_A_STRATEGY = 4
_DIFFERS = {Verdict.BETTER, Verdict.WORSE}
_SHADES = "cividis"


@dataclass(frozen=True, eq=False)
class _Grid:
    """Arms of a strategy that differ in rank and alpha.

    Attributes:
        title: the strategy, and the other options that tell its grids apart.
        cells: by rank and alpha.
    """

    title: str
    cells: Mapping[tuple[float, float], ArmFindings]

    @property
    def ranks(self) -> list[float]:
        return sorted({rank for rank, _ in self.cells})

    @property
    def alphas(self) -> list[float]:
        return sorted({alpha for _, alpha in self.cells})

    @property
    def by_rank(self) -> bool:
        """Whether there are three ranks, of one alpha each."""
        return len(self.ranks) == len(self.cells) >= 3

    @property
    def by_alpha(self) -> bool:
        """Whether there are three alphas of one rank."""
        return len(self.ranks) == 1 and len(self.alphas) >= 3

    @property
    def flat(self) -> bool:
        """Whether both vary, so that only a map shows all."""
        varied = len(self.ranks) >= 2 and len(self.alphas) >= 2
        return varied and len(self.cells) > max(len(self.ranks), len(self.alphas))


def rank_alpha_figure(findings: Findings) -> Figure | None:
    """Draw test accuracy by rank and alpha, a map or a line; None if the study varies neither."""
    grids = _grids(findings)
    maps = [grid for grid in grids if grid.flat]
    lines = [[grid for grid in grids if grid.by_rank], [grid for grid in grids if grid.by_alpha]]
    panels = len(maps) + sum(map(bool, lines))
    if not panels:
        return None
    wide = max([len(grid.ranks) for grid in maps], default=0)
    columns = 1 if panels == 1 or wide > 4 else 2
    rows = -(-panels // columns)
    tall = max([0.75 + 0.5 * len(grid.alphas) for grid in maps], default=0)
    width = max(WIDTH, 1.8 + 0.65 * wide * columns)
    figure = sheet(rows * max(2.4, tall), width=width)
    places = list(np.ravel(figure.subplots(rows, columns)))
    keys, notes = [], []
    if maps:
        means = [cell.accuracy.mean for grid in maps for cell in grid.cells.values()]
        norm = Normalize(min(means), max(means))
        drawn = places[: len(maps)]
        verdicts = set[Verdict]()
        titles = fitted_apart([grid.title for grid in maps], width / columns - 1, 10)
        for axes, grid in zip(drawn, maps, strict=True):
            verdicts |= _draw_map(axes, grid, norm, titles[grid.title], findings)
        outline = Patch(facecolor="none", edgecolor=VERMILION, lw=2.2)
        keys.append(Key(outline, "best on validation"))
        if verdicts & _DIFFERS:
            star = Line2D([], [], color=INK, marker="$*$", ls="", ms=7)
            keys.append(Key(star, "differs from the best cell"))
        if not one_seed_each(findings):
            notes.append(
                "±: half of the 95% interval over seeds and test examples, in percentage points."
            )
        if Verdict.TOO_FEW_SEEDS in verdicts:
            notes.append(f"Cells of fewer than {MIN_SEEDS} seeds are not tested.")
    rest = iter(places[len(maps) :])
    for group, option in zip(lines, ("rank", "alpha"), strict=True):
        if group:
            keys += _draw_lines(next(rest), group, option)
    for axes in rest:
        axes.set_visible(False)
    write_below(figure, keys, notes)
    return figure


def _grids(findings: Findings) -> list[_Grid]:
    by_strategy: dict[str, list[ArmFindings]] = {}
    for arm in findings.arms:
        if _number(arm, _RANK):
            by_strategy.setdefault(arm.strategy, []).append(arm)
    return [grid for name, arms in by_strategy.items() for grid in _split(name, arms)]


def _split(strategy: str, arms: Sequence[ArmFindings]) -> list[_Grid]:
    """Make a grid of a strategy's arms, or one for each combination of their other options."""
    times = Counter(_cell(arm) for arm in arms)
    crowded = [arm for arm in arms if times[_cell(arm)] > 1]
    others = sorted(
        key
        for key in {key for arm in crowded for key in arm.arm.runs[0].params}
        if not _named(key) and any(
            len({arm.param(key) for arm in crowded if _cell(arm) == cell}) > 1 for cell in times
        )
    )  # fmt: skip
    if SOURCE in others:
        others = [key for key in others if not dotted_names.within(key, (SOURCE_DATA,))]
    several = len({arm.arm.first.precision for arm in crowded}) > 1
    grids: dict[tuple[str, ...], dict[tuple[float, float], ArmFindings]] = {}
    for arm in arms:
        values = tuple(f"{key.removeprefix('adapter.')}={arm.param(key)}" for key in others)
        values += tuple(f"{what}={value[:6]}" for what, value in arm.arm.apart.items())
        values += (arm.arm.first.precision,) if several else ()
        grids.setdefault(values, {})[_cell(arm)] = arm
    if len(grids) > _GRIDS_A_STRATEGY:
        return []
    return [_Grid(" ".join([strategy, *values]), cells) for values, cells in grids.items()]


def _cell(arm: ArmFindings) -> tuple[float, float]:
    return _number(arm, _RANK), _number(arm, _ALPHA)


def _number(arm: ArmFindings, option: str) -> float:
    """Return the value of an option, 0 where it is no number."""
    try:
        return float(arm.param(option) or 0)
    except ValueError:
        return 0.0


def _named(key: str) -> bool:
    """Return whether an option is on an axis, or tells no arms apart."""
    return dotted_names.within(key, (*NO_NAMES, _RANK, _ALPHA))


def _draw_map(
    axes: Axes, grid: _Grid, norm: Normalize, title: str, findings: Findings
) -> set[Verdict]:
    """Draw a grid as a map, and return the verdicts on its cells against the best."""
    ranks, alphas = grid.ranks, grid.alphas
    shades = np.full((len(alphas), len(ranks)), np.nan)
    for (rank, alpha), cell in grid.cells.items():
        shades[alphas.index(alpha), ranks.index(rank)] = cell.accuracy.mean
    edges = np.arange(len(ranks) + 1) - 0.5, np.arange(len(alphas) + 1) - 0.5
    mapped = axes.pcolormesh(*edges, np.ma.masked_invalid(shades), cmap=_SHADES, norm=norm)
    # Of equals the first by name, as the reference is.
    best = min(grid.cells.values(), key=lambda cell: (-cell.selected, cell.name))
    others = [cell for cell in grid.cells.values() if cell is not best]
    # The comparisons of the table: a second family here could contradict it.
    verdicts = {cell.name: findings.verdict(cell, best) for cell in others}
    differs = {name for name, verdict in verdicts.items() if verdict in _DIFFERS}
    for (rank, alpha), cell in grid.cells.items():
        x, y = ranks.index(rank), alphas.index(alpha)
        text = f"{cell.accuracy.mean:.1%}" + ("*" if cell.name in differs else "")
        if (spread := cell.accuracy.interval) is not None:
            text += f"\n±{100 * spread.half_width:.1f}"
        colour = legible_on(np.asarray(mapped.to_rgba(np.asarray(cell.accuracy.mean))))
        axes.text(x, y, text, color=colour, ha="center", va="center", fontsize=SIZE, **VERBATIM)
        if cell is best:
            frame: dict[str, Any] = {
                "facecolor": "none",
                "edgecolor": VERMILION,
                "lw": 2.4,
                "clip_on": False,
            }
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, zorder=3, **frame))
    axes.set_xticks(range(len(ranks)), [f"{rank:g}" for rank in ranks])
    axes.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.tick_params(colors=INK, labelsize=SIZE, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("rank", color=INK)
    axes.set_ylabel("alpha", color=INK)
    axes.set_title(title, fontsize=10, color=INK, loc="left", **VERBATIM)
    return {verdict for verdict in verdicts.values() if verdict}


def _draw_lines(axes: Axes, grids: Sequence[_Grid], option: str) -> list[Key]:
    """Draw accuracy over one option, on a scale of doublings, and return the key."""
    plain(axes, grid="both")
    axes.set_xscale("log", base=2)
    keys, titles = [], fitted_apart([grid.title for grid in grids], 3.2)
    for i, grid in enumerate(grids):
        # Beside each other, so that intervals of equal ranks are seen.
        shift = 1.04 ** (i - (len(grids) - 1) / 2)
        looks = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        style: dict[str, Any] = {"lw": 1.6, "ms": 6, **looks}
        points = sorted((cell[option == "alpha"], arm) for cell, arm in grid.cells.items())
        x = [shift * value for value, _ in points]
        axes.plot(x, [arm.accuracy.mean for _, arm in points], **style)
        for at, (_, arm) in zip(x, points, strict=True):
            if (spread := arm.accuracy.interval) is not None:
                axes.plot([at, at], [spread.low, spread.high], lw=1.3, color=style["color"])
        keys.append(Key(Line2D([], [], **style), titles[grid.title]))
    values = sorted({cell[option == "alpha"] for grid in grids for cell in grid.cells})
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.set_xlabel(f"{option} (scale of doublings)", color=INK)
    main = points[0][1].main
    axes.set_ylabel(f"test {title_of(main)}", color=INK)
    axes.set_ylim(*within(axes.get_ylim(), main))
    axes.yaxis.set_major_formatter(percent)
    return keys
