"""A study's report as pages: one file of HTML that opens offline, and Markdown."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jinja2
import matplotlib as mpl
from matplotlib.figure import Figure

from adapterlab.reporting.tables import Table

READING = (
    "± is half the width of a 95% interval of the mean over seeds (Student's t); shares are of the "
    "test split.",
    "difference is to the reference, in points, with its 95% interval over the seeds that both "
    "have; p is corrected for all comparisons of this table (Holm).",
    "A tie is no proof of equality: could have seen is the difference, in points, that this study "
    "would have found 80 times in 100.",
)
"""How to read the table of arms."""


@dataclass(frozen=True)
class Picture:
    """A drawn figure of a report.

    Attributes:
        stem: of its files' names.
        title: a few words.
        caption: what is drawn, and how to read it.
        svg: the picture.
    """

    stem: str
    title: str
    caption: str
    svg: bytes


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
    figures = [
        {
            "stem": picture.stem,
            "title": picture.title,
            "caption": picture.caption,
            "svg": base64.b64encode(picture.svg).decode(),
        }
        for picture in page.pictures
    ]
    return _template().render(
        study=page.study,
        about=page.about,
        verdict=page.verdict,
        tables=page.tables,
        reading=READING,
        figures=figures,
        notes=page.notes,
        facts=page.facts,
        runs=page.runs,
    )


def as_markdown(page: Page) -> str:
    """Return the page as Markdown, with links to the pictures beside it."""
    parts = [f"# {_text(page.study)}", _text(page.about), *map(_text, page.verdict)]
    for number, table in enumerate(page.tables):
        parts += [f"## {table.title}", _table(table)]
        if number == 0:
            parts.append("\n".join(f"- {line}" for line in READING))
    for picture in page.pictures:
        link = f"![{picture.title}](figures/{picture.stem}.png)"
        parts += [f"## {picture.title}", link, _text(picture.caption)]
    parts += ["## Notes", "\n".join(f"- {_text(note)}" for note in page.notes)]
    parts.append("\n".join(f"- {name}: {_text(value)}" for name, value in page.facts))
    return "\n\n".join(part for part in parts if part) + "\n"


def svg_of(figure: Figure) -> bytes:
    """Return a figure as SVG, texts as text; same figure, same bytes."""
    file = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "adapterlab"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


@lru_cache
def _template() -> jinja2.Template:
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=folder, autoescape=True, trim_blocks=True)
    return environment.get_template("report.html.j2")


def _table(table: Table) -> str:
    lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *table.rows]
    return "\n".join(f"| {' | '.join(_text(cell) for cell in line)} |" for line in lines)


def _text(line: str) -> str:
    """Make a line stand for itself in Markdown."""
    if set(line) <= set("-:"):
        return line
    return re.sub(r"([\\`*_\[\]|<>#$])", r"\\\1", line)
