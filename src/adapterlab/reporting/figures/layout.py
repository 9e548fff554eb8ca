"""What the figures of a study have in common: sheets, keys and notes, looks, names that fit."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from adapterlab.drawing.canvas import DPI, INK, PAPER, VERBATIM, inches, lay_out
from adapterlab.drawing.figures import BLUE, GREEN, MUTED, VERMILION
from adapterlab.drawing.wording import one_line
from adapterlab.reporting.findings import ArmFindings, Findings

WIDTH, SIZE = 7.5, 9.0
"""Inches across a sheet, and points of its letters."""

NARROW = 4.1
"""Inches across a sheet that a phone shows in nearly its natural size."""

ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
OCHRE = "#8A7A00"
"""Okabe and Ito's yellow, darkened: theirs is not seen on white."""

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, OCHRE)
_GAPS = {"w_pad": 0.08, "h_pad": 0.06}
_RADIUS = 5
"""Of a dot that something is written beside, in points."""

_BETWEEN = 0.08
"""Inches between names of an axis."""

MARKERS = "osD^vPX"

_across: ContextVar[float] = ContextVar("across", default=WIDTH)


@dataclass(frozen=True)
class Look:
    """How the arms of a strategy are drawn; no two differ in colour alone."""

    colour: str
    marker: str


@dataclass(frozen=True)
class Key:
    """An entry of the key below a figure."""

    handle: Artist
    text: str


@contextmanager
def narrow_sheets() -> Iterator[None]:
    """Make sheets as narrow as a phone's window, letters of the same size, until it is left."""
    before = _across.set(NARROW)
    try:
        yield
    finally:
        _across.reset(before)


def across() -> float:
    """Return how many inches there are across a sheet."""
    return _across.get()


def is_narrow() -> bool:
    """Return whether sheets are those of `narrow_sheets`."""
    return across() < WIDTH


def sheet(height: float, *, width: float | None = None) -> Figure:
    """Make an empty figure, inches across and up, that lays out what is put on it.

    Args:
        height: in inches.
        width: in inches; None: `across`.
    """
    figure = Figure(figsize=(width or across(), height), dpi=DPI, facecolor=PAPER)
    figure.set_layout_engine("constrained", **_GAPS)
    return figure


def looks(findings: Findings) -> dict[str, Look]:
    """Give each strategy of a study its look."""
    names = sorted({arm.strategy for arm in findings.arms})
    return {
        name: Look(COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, name in enumerate(names)
    }


def fitted(text: str, width: float, size: float = SIZE) -> str:
    """Cut a text in the middle until it is at most `width` inches wide at `size` points."""
    line = one_line(text, max(len(text), 8))
    while len(line) > 8 and inches([line], size) > width:
        line = one_line(text, len(line) - 1 - int(0.1 * (len(line) - 8)))
    return line


def short_names(arms: Sequence[ArmFindings], width: float, size: float = SIZE) -> dict[str, str]:
    """Cut the names of arms to a width in inches; those that end up alike are numbered."""
    return fitted_apart([arm.name for arm in arms], width, size)


def fitted_apart(names: Sequence[str], width: float, size: float = SIZE) -> dict[str, str]:
    """Cut names to a width in inches; those that end up alike are numbered."""
    short = {name: fitted(name, width, size) for name in names}
    times = Counter(short.values())
    return {
        name: cut if times[cut] == 1 else f"({n}) {fitted(name, width - 0.3, size)}"
        for n, (name, cut) in enumerate(short.items(), start=1)
    }


def one_seed_each(findings: Findings) -> bool:
    """Return whether no arm has a spread over seeds."""
    return all(len(arm.accuracy.values) == 1 for arm in findings.arms)


def letters(arm: ArmFindings) -> str:
    """Return the letters of an arm; two that share one are not told apart."""
    return str(getattr(arm, "letters", ""))


def may_be_best(arm: ArmFindings) -> bool:
    """Return whether the best arm may be this one; False where that is not known."""
    return getattr(arm, "may_be_best", None) is True


def runs_lost(arm: ArmFindings) -> str:
    """Say how many of an arm's runs finished, such as "3 of 5 runs"; "" if all did."""
    finished = len(arm.arm.runs)
    tried = getattr(arm.arm, "tried", finished) + len(getattr(arm.arm, "missing", ()))
    return f"{finished} of {tried} runs" if tried > finished else ""


def reference_note(findings: Findings) -> list[str]:
    """Say what the sign of `marked` means; nothing where there is one arm only."""
    note = "\N{BLACK DIAMOND}: the reference, which all other arms are compared with."
    return [note] if findings.others else []


def marked(findings: Findings, names: dict[str, str]) -> dict[str, str]:
    """Put a sign before the reference's name, where there are other arms."""
    if not findings.others:
        return names
    sign = findings.reference.name
    return {name: f"\N{BLACK DIAMOND} {text}" if name == sign else text
            for name, text in names.items()}  # fmt: skip


def dot(look: Look, *, filled: bool = True) -> Line2D:
    """Make the sign of a strategy for the key."""
    face = look.colour if filled else PAPER
    return Line2D([], [], ls="", marker=look.marker, mec=look.colour, mfc=face, ms=7)


def write_below(figure: Figure, keys: Sequence[Key], notes: Sequence[str]) -> None:
    """Add a key and notes below all that is on a sheet, which grows by what they take."""
    width, height = figure.get_size_inches()
    room = 0.08
    lines = [line for note in notes for line in _wrapped(note, width - 0.2)]
    at = room
    room += 0.17 * len(lines)
    if keys:
        names = [key.text for key in keys]
        columns = max(1, min(len(keys), int((width - 0.1) / (inches(names, SIZE) + 0.5))))
        middle = room
        room += 0.178 * -(-len(keys) // columns) + 0.1
    total = height + room
    figure.set_size_inches(width, total)
    figure.set_layout_engine("constrained", rect=(0, room / total, 1, height / total), **_GAPS)
    if lines:
        style = {"va": "bottom", "fontsize": SIZE, "color": MUTED, "linespacing": 1.25, **VERBATIM}
        figure.text(0.1 / width, at / total, "\n".join(lines), in_layout=False, **style)
    if keys:
        legend = figure.legend(
            [key.handle for key in keys], names, ncols=columns, fontsize=SIZE, labelcolor=INK,
            loc="lower left", bbox_to_anchor=(0, middle / total), frameon=False,
            borderpad=0.2, borderaxespad=0.2, labelspacing=0.4, handlelength=1.6,
            handletextpad=0.5, columnspacing=1.0,
        )  # fmt: skip
        legend.set_in_layout(False)
        for text in legend.get_texts():
            text.set(**VERBATIM)


def crowded(places: Sequence[float], names: Sequence[str], width: float, *, log: bool) -> bool:
    """Say whether names side by side on an axis would touch.

    Args:
        places: of the names, in order.
        names: at these places.
        width: of the panel, in inches.
        log: whether the axis is logarithmic.
    """
    at = np.log(places) if log else np.asarray(places, dtype=float)
    each = np.array([inches([name], SIZE) for name in names])
    inch = width / (1.1 * max(float(at[-1] - at[0]), 1e-300))  # a tenth are margins
    return bool((np.diff(at) * inch < (each[1:] + each[:-1]) / 2 + _BETWEEN).any())


def write_right(axes: Axes, y: float, text: str) -> None:
    """Write outside of a panel, at the right of its line ``y``."""
    axes.annotate(
        text, (1, y), (6, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        annotation_clip=False, va="center", fontsize=SIZE, color=INK,
    )  # fmt: skip


def write_at_points(
    figure: Figure, panels: Mapping[Axes, Sequence[tuple[float, float, str]]]
) -> None:
    """Write beside points, up and left if there is room, and nothing where there is none.

    A text never stands nearer to another point than to its own.

    Args:
        figure: complete but for these texts, since places in it are measured.
        panels: for each, all points: x and y in data coordinates, and what to write there; ""
            only takes its place.
    """
    lay_out(figure)
    for axes, points in panels.items():
        _write_at_points(axes, points, figure.dpi)


def _write_at_points(axes: Axes, points: Sequence[tuple[float, float, str]], dpi: float) -> None:
    pixel = dpi / 72
    panel = axes.get_window_extent()
    centres = axes.transData.transform([(x, y) for x, y, _ in points])
    reach = _RADIUS * pixel
    taken = [Bbox.from_extents(x - reach, y - reach, x + reach, y + reach) for x, y in centres]
    for i, (x, y, text) in enumerate(points):
        wide, high = inches([text], SIZE) * dpi, 1.25 * SIZE * pixel
        for right, up in ((-1, 1), (1, -1), (1, 1), (-1, -1), (0, 1), (0, -1), (-1, 0), (1, 0)):
            gap = reach * (1.0 if right and up else 1.3)
            left = centres[i][0] + right * gap - wide * (1 - right) / 2
            below = centres[i][1] + up * gap - high * (1 - up) / 2
            box = Bbox.from_bounds(left, below, wide, high)
            inside = panel.containsx(box.x0) and panel.containsx(box.x1)
            inside = inside and panel.containsy(box.y0) and panel.containsy(box.y1)
            hit = any(box.overlaps(other) for k, other in enumerate(taken) if k != i)
            away = np.hypot(*(centres - np.clip(centres, box.min, box.max)).T)
            own = away[i] <= away.min() + 0.01
            if text and inside and own and not hit:
                axes.annotate(
                    text, (x, y), (right * gap / pixel, up * gap / pixel),
                    textcoords="offset points", fontsize=SIZE, color=INK, in_layout=False,
                    ha=("right", "center", "left")[right + 1],
                    va=("top", "center", "bottom")[up + 1], **VERBATIM,
                )  # fmt: skip
                taken.append(box)
                break


def _wrapped(note: str, width: float) -> list[str]:
    wide = inches([note], SIZE)
    return textwrap.wrap(note, max(20, int(0.97 * len(note) * width / wide)))
