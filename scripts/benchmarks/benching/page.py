"""The part of docs/benchmarks.md that is written from what is kept."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benching.kept import Kept, Measured, load
from benching.rows import Clock, Quantity, Race, Row

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def write(page: Path, results: Path, races: Mapping[str, Race], rows: Mapping[str, Row]) -> None:
    """Put what is kept between the markers of a page.

    Raises:
        ValueError: the page has no markers.
    """
    kept = [load(place) for place in sorted(results.glob("*.json"))]
    page.write_text(filled(page.read_text(), part(kept, races, rows)))


def filled(page: str, text: str) -> str:
    """Return a page with a text between its markers.

    Raises:
        ValueError: it has no markers, or not one pair.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page has no place for benchmarks: {BEGIN} ... {END}, once")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{text.strip()}\n{END}{rest.split(END)[1]}"


def part(kept: Iterable[Kept], races: Mapping[str, Race], rows: Mapping[str, Row]) -> str:
    """Return tables and remarks, a section a machine."""
    return "\n\n".join(_of_machine(one, races, rows) for one in kept) or "Nothing is kept yet."


def _of_machine(kept: Kept, races: Mapping[str, Race], rows: Mapping[str, Row]) -> str:
    known = {name: kept.rows[name] for name in rows if name in kept.rows}
    there = {name: row for name, row in known.items() if row.there}
    parts = [f"### {described(kept.machine)}", _when(list(there.values()))]
    for race in races.values():
        own = [name for name in there if rows[name].race == race.name]
        if own:
            parts.append(f"**{race.what}**{_on(there[own[0]], race)}")
            parts.append(_table([(rows[name], there[name]) for name in own]))
            parts.extend(_remarks([rows[name] for name in own]))
    if absent := [
        f"`{name}` ({row.failed or row.skipped})" for name, row in known.items() if not row.there
    ]:
        parts.append(f"Not measured here: {', '.join(absent)}.")
    return "\n\n".join(part for part in parts if part)


def described(machine: Mapping[str, Any]) -> str:
    """Name a machine for a reader."""
    where = machine.get("accelerator") or machine["cpu"]
    return f"{where}, {machine['cores']} cores"


def _when(rows: Sequence[Measured]) -> str:
    if not rows:
        return ""
    dates = sorted({row.date for row in rows})
    loads = sorted(row.load for row in rows)
    turns = sorted({len(row.ours["cpu"]) for row in rows})
    return (
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}; "
        f"{' or '.join(map(str, turns))} turns of each side; load of the machine when rows began: "
        f"{loads[0]:g} to {loads[-1]:g}."
    )


def _on(row: Measured, race: Race) -> str:
    small = row.data == "digits" and race.name in ("alone", "lanes")
    return " (on scikit-learn's digits of 8x8, since Fashion-MNIST was not there)" if small else ""


def _table(rows: Sequence[tuple[Row, Measured]]) -> str:
    clock = rows[0][1].clock
    by = {"cpu": "CPU", "wall": "wall"}
    lines = [
        f"| row | ratio of {by[clock]} s (of turns) | at most | of {by[_other(clock)]} s "
        "| ours | theirs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row, found in rows:
        low, high = found.spread()
        other = "" if found.unit == "MiB" else f"{found.ratio(_other(clock)):.3g}"
        lines.append(
            f"| {row.title} (`{row.name}`) | {_bold(row, found)} ({low:.3g} to {high:.3g}) "
            f"| {'' if row.most is None else f'{row.most:g}'} | {other} "
            f"| {_side(row.ours, found, found.ours)} | {_side(row.theirs, found, found.theirs)} |"
        )
    return "\n".join(lines)


def _bold(row: Row, found: Measured) -> str:
    """Show a ratio, bold where it is more than was asked."""
    ratio = f"{found.ratio():.3g}"
    return f"**{ratio}**" if row.most is not None and found.ratio() > row.most else ratio


def _side(quantity: Quantity, found: Measured, values: Mapping[Clock, list[float]]) -> str:
    if found.unit == "MiB":
        return f"{quantity.words}: {median(values['cpu']):,.0f} MiB"
    shown = f"{quantity.words}: {median(values['cpu']):.3g} s, wall {median(values['wall']):.3g} s"
    if len(quantity.sides) == 1 and "mib" in (own := found.samples[quantity.sides[0]]):
        shown += f", {median(own['mib']):,.0f} MiB"
    return shown


def _remarks(rows: Sequence[Row]) -> list[str]:
    """Say each remark once, with the rows that it is of."""
    by: dict[str, list[str]] = {}
    for row in rows:
        if row.remark:
            by.setdefault(row.remark, []).append(f"`{row.name}`")
    lines = [f"- {', '.join(names)}: {remark}" for remark, names in by.items()]
    return ["\n".join(lines)] if lines else []


def _other(clock: Clock) -> Clock:
    return "wall" if clock == "cpu" else "cpu"
