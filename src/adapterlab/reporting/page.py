"""A study's report as pages: one file of HTML that opens offline, and Markdown."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from adapterlab.reporting.formatting import NOT_MEASURED
from adapterlab.reporting.tables.arms import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READING: Mapping[str, str] = {
    "may be best": "whether the best arm may be this one.",
    "letters": "arms that share a letter are not told apart.",
    "runs": "how many finished, of those that should have.",
    "test": "mean over seeds on the test split, with its 95% interval. Of an arm that was picked "
    "among several it is too narrow: what is said of that one above allows for the choice.",
    "difference": "to the reference, with an interval that is corrected for all comparisons.",
    "p": "of the difference, corrected for all comparisons.",
    "would have found": "a true difference of this size is found by 80 in 100 studies like this "
    "one. Smaller ones are missed more often: that two arms are not told apart does not make them "
    "equal.",
}
"""What columns of the table of arms mean, by their names or the first word of these."""

_NAMES = 24
"""Characters of an arm's name that stand in one line, as far as the name has so many."""

_NUMBER = re.compile(r"[<+\-\N{MINUS SIGN}]?\d")


@dataclass(frozen=True)
class Picture:
    """A drawn figure of a report.

    Attributes:
        stem: of its files' names.
        title: a few words.
        caption: what is drawn, and how to read it.
        svg: the picture.
        narrow: the same for windows as narrow as a phone; None: the page lets the wide one scroll.
    """

    stem: str
    title: str
    caption: str
    svg: bytes
    narrow: bytes | None = None


@dataclass(frozen=True)
class Page:
    """What a report says.

    Attributes:
        study: its name.
        about: the data set, the model, and how many runs.
        verdict: sentences.
        tables: that of the arms first.
        pictures: in the order of the page.
        notes: what a reader must know.
        facts: names and values of the circumstances.
        runs: one row a run.
    """

    study: str
    about: str
    verdict: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    notes: Sequence[str]
    facts: Sequence[tuple[str, str]]
    runs: Table


def as_html(page: Page) -> str:
    """Return the page as one file that needs no other."""
    tables = [_shown(table) for table in page.tables]
    figures = [
        {
            "title": picture.title,
            "caption": picture.caption,
            "svg": base64.b64encode(picture.svg).decode(),
            "narrow": picture.narrow and base64.b64encode(picture.narrow).decode(),
        }
        for picture in page.pictures
    ]
    anchors = _anchors([
        *(table.title for table in page.tables), *(picture.stem for picture in page.pictures)
    ])  # fmt: skip
    for part, anchor in zip([*tables, *figures], anchors, strict=True):
        part["anchor"] = anchor
    return _template().render(
        study=page.study,
        about=page.about,
        verdict=page.verdict,
        tables=tables,
        reading=_reading(page.tables),
        figures=figures,
        notes=page.notes,
        facts=page.facts,
        runs=_shown(page.runs),
        runs_count=len(page.runs.rows),
    )


def as_markdown(page: Page) -> str:
    """Return the page as Markdown, with links to the pictures beside it."""
    parts = [f"# {_text(page.study)}", _text(page.about), *map(_text, page.verdict)]
    for number, table in enumerate(page.tables):
        parts += [f"## {_text(table.title)}", _table(_arm_first(table))]
        if number == 0:
            parts.append("\n".join(f"- {_text(line)}" for line in _reading(page.tables)))
    for picture in page.pictures:
        title = _text(picture.title)
        link = f"![{title}](figures/{picture.stem}.png)"
        parts += [f"## {title}", link, _text(picture.caption)]
    parts += ["## Notes", "\n".join(f"- {_text(note)}" for note in page.notes)]
    parts.append("\n".join(f"- {_text(name)}: {_text(value)}" for name, value in page.facts))
    return "\n\n".join(part for part in parts if part) + "\n"


def svg_of(figure: "Figure") -> bytes:
    """Return a figure as SVG, texts as text; same figure, same bytes."""
    from adapterlab.drawing.svg import as_svg  # loads what a printed table does without

    return as_svg(figure)


@lru_cache
def _template() -> jinja2.Template:
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=folder, autoescape=True, trim_blocks=True)
    return environment.get_template("report.html.j2")


def _reading(tables: Sequence[Table]) -> list[str]:
    """Say what the columns of the first table mean, as far as names do not."""
    shown = tables[0].header if tables else ()
    meanings = ((name, READING.get(name) or READING.get(name.split(" ")[0])) for name in shown)
    return [f"{name}: {meaning}" for name, meaning in meanings if meaning]


def _anchors(titles: Sequence[str]) -> list[str]:
    """Return a part of an address for each title, no two alike."""
    taken = {"notes"}
    anchors = []
    for title in titles:
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"
        tries = (stem, *(f"{stem}-{n}" for n in range(2, len(titles) + 3)))
        anchors.append(next(anchor for anchor in tries if anchor not in taken))
        taken.add(anchors[-1])
    return anchors


def _arm_first(table: Table) -> Table:
    """Put the verdict beside the arm, where a narrow window still shows it."""
    header = table.header
    if not {"arm", "verdict"} <= {*header}:
        return table
    before = header[: header.index("arm") + 1]
    order = [*range(len(before)), header.index("verdict")]
    order += [i for i in range(len(header)) if i not in order]
    rows = tuple(tuple(row[i] for i in order) for row in table.rows)
    return Table(table.title, tuple(header[i] for i in order), rows)


def _shown(table: Table) -> dict[str, Any]:
    """Return what the template draws of a table: its rows in groups, the arm in front.

    A first column without a name, such as "rank 4", becomes a heading above its rows.
    """
    header, rows = table.header, table.rows
    grouped = header[:2] == ("", "arm")
    groups = [row[0] if grouped else "" for row in rows]
    front = header.index("arm") if "arm" in header else 0
    order = [front, *(i for i, name in enumerate(header) if name == "verdict" and i != front)]
    order += [i for i in range(int(grouped), len(header)) if i not in order]
    place = {header[i]: at for at, i in enumerate(order)}
    columns = [
        {"name": header[i], "kind": _kind(header[i], [row[i] for row in rows], first=i == front)}
        for i in order
    ]
    shown: list[dict[str, Any]] = []
    for group, row in zip(groups, rows, strict=True):
        if not shown or shown[-1]["name"] != group:
            shown.append({"name": group, "rows": []})
        cells = [
            _kept_together(row[i]) if column["kind"] == "number" else row[i]
            for i, column in zip(order, columns, strict=True)
        ]
        verdict = cells[place["verdict"]] if "verdict" in place else ""
        best = "may be best" in place and cells[place["may be best"]] == "yes"
        shown[-1]["rows"].append(
            {"cells": cells, "verdict": verdict, "marked": best or verdict == "reference"}
        )
    longest = max((len(row[front]) for row in rows), default=0)
    names = min(longest, _NAMES)
    return {"title": table.title, "columns": columns, "groups": shown, "names": names}


def _kind(name: str, cells: Sequence[str], *, first: bool) -> str:
    if first or name == "verdict":
        return "first" if first else "verdict"
    filled = [cell for cell in cells if cell and cell != NOT_MEASURED]
    return "number" if filled and all(map(_NUMBER.match, filled)) else "text"


def _kept_together(cell: str) -> str:
    """Let a line end before the parentheses of ``-2.06 (-3.11 to -1.01)``, not inside."""
    return re.sub(r"\([^()]*\)", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), cell)


def _table(table: Table) -> str:
    lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *table.rows]
    return "\n".join(f"| {' | '.join(_text(cell) for cell in line)} |" for line in lines)


def _text(line: str) -> str:
    """Make a line stand for itself in Markdown, and stay one line."""
    if set(line) <= set("-:"):
        return line
    line = re.sub(r"[\r\n\x0b\x0c\x85\u2028\u2029]+", " ", line)
    return re.sub(r"([\\`*_\[\]|<>#$])", r"\\\1", line)
