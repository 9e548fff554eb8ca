"""Tables and a figure of how cost grows, from what is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benching import kept
from benching.page import described, filled

from growing.axes import AXES, Axis, Point


@dataclass(frozen=True)
class Grown:
    """An axis as it was measured.

    Attributes:
        date, commit, load: as of a row of benchmarks.
        points: size, and what it took.
        skipped: why it was not measured.
    """

    date: str
    commit: str
    load: float
    data: str = ""
    points: list[Point] = field(default_factory=list)
    skipped: str = ""


def save(place: Path, machine: Mapping[str, Any], found: Mapping[str, Grown]) -> None:
    """Write what was found; axes that were kept before stay."""
    before = load(place)[1] if place.is_file() else {}
    axes = {name: asdict(grown) for name, grown in {**before, **found}.items()}
    kept.write(place, machine, axes=axes)


def load(place: Path) -> tuple[Mapping[str, Any], dict[str, Grown]]:
    """Read what `save` wrote."""
    values = json.loads(place.read_text())
    return values["machine"], {name: Grown(**one) for name, one in values["axes"].items()}


def write(page: Path, results: Path, pictures: Path) -> None:
    """Put tables between the markers of a page, and draw the figure, of every machine kept."""
    parts = []
    for place in sorted(results.glob("*.json")):
        machine, found = load(place)
        parts.append(f"### {described(machine)}")
        picture = pictures / f"growth_{place.stem}.png"
        draw(found, picture)
        parts.append(f"![How cost grows]({picture.relative_to(page.parent)})")
        parts.extend(table(axis, found[axis.name]) for axis in AXES if axis.name in found)
    page.write_text(filled(page.read_text(), "\n\n".join(parts) or "Nothing is kept yet."))


def table(axis: Axis, grown: Grown) -> str:
    """Return an axis's table: what each size takes, and what one more added to the size before."""
    title = f"**{axis.title}** (`{axis.name}`; {grown.date}, load {grown.load:g})"
    if grown.skipped:
        return f"{title}: not measured: {grown.skipped}."
    names = list(grown.points[0][1])
    heads = [f"{axis.one}s", *(f"{name} | one more" for name in names)]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * (1 + 2 * len(names))}"]
    for number, (size, values) in enumerate(grown.points):
        cells = [f"{size:,}"]
        for name in names:
            cells.append(f"{values[name]:.3g}")
            cells.append(_more(grown.points, number, name))
        lines.append(f"| {' | '.join(cells)} |")
    return f"{title}\n\n" + "\n".join(lines)


def _more(points: Sequence[Point], number: int, name: str) -> str:
    """Return what one more took between two sizes, in thousandths."""
    if number == 0:
        return ""
    (few, before), (many, after) = points[number - 1], points[number]
    each = 1000 * (after[name] - before[name]) / (many - few)
    unit = "KiB" if name.endswith("MiB") else "ms"
    return f"{each * (1.024 if unit == 'KiB' else 1):.3g} {unit}"


def draw(found: Mapping[str, Grown], picture: Path) -> None:
    """Draw all axes on logarithmic scales; a dotted line grows as its axis does."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    axes = [axis for axis in AXES if axis.name in found and found[axis.name].points]
    rows = max(-(-len(axes) // 2), 1)
    figure = Figure(figsize=(11, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, axis in enumerate(axes):
        panel, points = figure.add_subplot(rows, 2, number + 1), found[axis.name].points
        sizes = [size for size, _ in points]
        seconds = {
            name: [values[name] for _, values in points]
            for name in points[0][1]
            if name.endswith("CPU s")
        }
        for name, values in seconds.items():
            panel.plot(sizes, values, "o-", label=name)
        top = max(values[-1] for values in seconds.values())
        panel.plot(sizes, [top * size / sizes[-1] for size in sizes], "k:", lw=1)
        panel.set(xscale="log", yscale="log", xlabel=f"{axis.one}s", ylabel="CPU s")
        panel.set_xticks(sizes, labels=[f"{size:,}" for size in sizes])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.minorticks_off()
        panel.set_ylim(min(map(min, seconds.values())) / 2, top * 2)
        panel.set_title(axis.title.partition(":")[0], fontsize=10)
        panel.legend(fontsize=8)
        panel.grid(visible=True, alpha=0.3)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
