"""Rerun the studies behind docs/results.md and write its figures: python scripts/results.py.

Tables, verdicts, pictures and commands stand there between markers, and come from the studies' own
reports; what is outside of the markers stays as it was written. Nothing is written before all is
there. The studies lie in a store of their own, so that nothing that was tried besides gets into
them. What has finished there is not run again: with the code of another commit, take another root.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.app.script_options import Parser
from adapterlab.base.errors import AdapterLabError, allowed
from adapterlab.reporting.report import Report, Request, make_report
from adapterlab.reporting.tables.arms import Table
from results_studies import STUDIES, Study

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "results.md"
WIDTH = 110
NOT_RUN = "Not run by this command; to run it:"
EXPERIMENT = "adapterlab"  # MLflow's, as in conf/tracking/mlflow.yaml
FACTS = ("torch", "Lightning", "Python")
_MARKER = re.compile(r"^<!-- results: (\S+) -->$", re.MULTILINE)
_END = "<!-- end -->"


@dataclass(frozen=True)
class Shown:
    """A study on the page, and what it took to get there.

    Attributes:
        study: which.
        report: None where it was not run.
        seconds: wall time of its command; None where it was read only.
    """

    study: Study
    report: Report | None
    seconds: float | None = None


class StudyFailedError(AdapterLabError):
    """A command of the page did not end well."""

    exit_code = 1


def fill(page: str, parts: Mapping[str, str]) -> str:
    """Return a page with the text between its markers replaced.

    Raises:
        AdapterLabError: a part has no marker or several, or a marker has no end.
    """
    for name in parts:
        marker = f"<!-- results: {name} -->"
        found = page.splitlines().count(marker)
        if found != 1:
            raise AdapterLabError(f"{marker} stands {found} times on the page; allowed: once")
        before, _, rest = page.partition(f"{marker}\n")
        old, end, after = rest.partition(f"{_END}\n")
        if not end or _MARKER.search(old):
            raise AdapterLabError(f"{marker} has no {_END} on a line of its own")
        page = f"{before}{marker}\n{parts[name].strip()}\n{_END}\n{after}"
    return page


def check(page: str) -> None:
    """Require a page to have a place for every study, and for nothing else.

    Raises:
        AdapterLabError: it has not.
    """
    fill(page, dict.fromkeys(STUDIES, ""))
    for name in _MARKER.findall(page):
        if name not in STUDIES:
            raise AdapterLabError(f"<!-- results: {name} -->: {allowed(name, STUDIES)}")


def section(shown: Shown) -> str:
    """Return what the page says of a study."""
    study, report = shown.study, shown.report
    command = f"```\n{study.command}\n```"
    if report is None:
        return f"{NOT_RUN}\n\n{command}"
    page = report.page
    verdict = textwrap.fill(_escaped(" ".join(page.verdict)), WIDTH - 2, break_on_hyphens=False)
    notes = "\n".join(f"- {_escaped(note)}" for note in page.notes)
    parts = [command, *tables(study, report), textwrap.indent(verdict, "> ")]
    if study.figure is not None and drawn(report):
        parts.append(f"![{study.preset}: {study.drawn}](images/{study.picture})")
    parts.append(made_with(report))
    if notes:
        parts.append(f"<details><summary>Notes of the report</summary>\n\n{notes}\n\n</details>")
    return "\n\n".join(parts)


def tables(study: Study, report: Report) -> list[str]:
    """Return the tables that are shown of a report; several have their titles above them."""
    found = []
    for one in report.page.tables:
        of, _, title = one.title.rpartition(": ")
        if title in study.tables:
            task = next((n for n, task in enumerate(report.tasks) if task.task == of), 0)
            arms = title == Study.tables[0]
            found.append((one.title, table(report, one, task) if arms else as_markdown(one)))
    if len(found) == 1:
        return [found[0][1]]
    return [text for title, shown in found for text in (f"{_escaped(title)}:", shown)]


def table(report: Report, arms: Table, task: int = 0) -> str:
    """Return a report's table of arms, with each one's rate and what it trains, as Markdown."""
    added = [
        {row[0]: row[short.header.index(name)] for row in short.rows}
        for short in [report.table(task)]
        for name in ("trained parameters",)
        if name in short.header and name not in arms.header
    ]
    header = [*arms.header, *["trained parameters"] * len(added)]
    rows = [[*row, *(cells.get(row[0], "") for cells in added)] for row in arms.rows]
    if rates := _rates(report, task):
        header.insert(1, "rate")
        rows = [[row[0], rates.get(row[0], ""), *row[1:]] for row in rows]
    return as_markdown(Table(arms.title, tuple(header), tuple(map(tuple, rows))))


def as_markdown(one: Table) -> str:
    """Return a table as Markdown."""
    ruled = ["---", *["---:"] * (len(one.header) - 1)]
    cells = [[_escaped(cell) for cell in row] for row in (one.header, *one.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells[0], ruled, *cells[1:]))


def drawn(report: Report) -> bool:
    """Say whether there is a spread to draw: a single seed is in the table already."""
    runs = report.page.runs
    place = runs.header.index("arm")
    arms = [row[place] for row in runs.rows]
    return len(set(arms)) < len(arms)


def made_with(report: Report) -> str:
    """Return in a sentence which code and versions a study's runs were made with."""
    facts = dict(report.page.facts)
    versions = ", ".join(f"{name} {facts[name]}" for name in FACTS if name in facts)
    commit = facts.get("commit", "")
    commits = [f"{value[:10]}{'+' * value.endswith('+')}" for value in commit.split(", ")]
    where = f"at commit {' and '.join(commits)}" if commit else "outside of git"
    dirty = " (+: with changes that were not committed)" if "+" in commit else ""
    line = f"Run {where}{dirty}, with {versions}."
    return textwrap.fill(_escaped(line), WIDTH, break_on_hyphens=False)


def run(study: Study, root: Path) -> float:
    """Carry out what of a study has not finished, and return the seconds that took.

    Raises:
        StudyFailedError: the command failed.
    """
    begun = time.monotonic()
    command = [sys.executable, str(CHECKOUT / "src" / "train.py"), *study.arguments, "report=false"]
    ended = subprocess.run(command, env={**os.environ, "ADAPTERLAB_ROOT": str(root)}, check=False)
    if ended.returncode != 0:
        raise StudyFailedError(
            f"{study.command} ended with exit code {ended.returncode}; the page is as it was"
        )
    return time.monotonic() - begun


def read(study: Study, root: Path) -> Report:
    """Write a study's report in its store, as scripts/report.py does, and return it.

    Raises:
        AdapterLabError: the store does not have it.
    """
    if not (root / "mlruns" / "mlflow.db").is_file():
        raise AdapterLabError(f"{root} has no mlruns/mlflow.db")
    return make_report(
        Request(
            study=study.name,
            reference=None,
            experiment=EXPERIMENT,
            tracking_uri=None,
            root=str(root),
        )
    )


def carry_out(studies: Sequence[Study], options: argparse.Namespace) -> list[Shown]:
    """Run or read each study, and say on a line which."""
    shown = []
    for place, study in enumerate(studies, start=1):
        where = f"[{place}/{len(studies)}] {study.preset}"
        if not study.stored:
            print(f"{where}: {study.command}", flush=True)
            seconds = run(study, options.root) if options.train else None
            shown.append(Shown(study, read(study, options.root), seconds))
        elif options.texts is None:
            print(f"{where}: not run, and no --texts to read it from", flush=True)
            shown.append(Shown(study, None))
        else:
            print(f"{where}: read from --texts", flush=True)
            shown.append(Shown(study, _stored(study, options.texts)))
    return shown


def write(shown: Sequence[Shown], page: Path) -> None:
    """Write the page and its pictures."""
    parts = {one.study.preset: section(one) for one in shown}
    text = fill(page.read_text(encoding="utf-8"), parts)
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    for one in shown:
        (images / one.study.picture).unlink(missing_ok=True)
        if one.report is not None and one.study.figure is not None and drawn(one.report):
            shutil.copyfile(one.report.picture(one.study.figure), images / one.study.picture)
    page.write_text(text, encoding="utf-8")


def summary(shown: Sequence[Shown], page: Path) -> str:
    """Return what was done, a line a study."""
    lines = []
    for one in shown:
        took = "" if one.seconds is None else f", {one.seconds:.0f} s"
        runs = "not run" if one.report is None else f"{len(one.report.page.runs.rows)} runs{took}"
        lines.append(f"{one.study.preset}: {runs}")
    return "\n".join([*lines, f"written: {page}"])


def main(arguments: Sequence[str] | None = None) -> None:
    with mistakes_in_one_line():
        options = _options(arguments)
        studies = [STUDIES[preset] for preset in options.only or STUDIES]
        # Before hours of training, not after.
        check(options.page.read_text(encoding="utf-8"))
        shown = carry_out(studies, options)
        write(shown, options.page)
    print(summary(shown, options.page))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    default = Path(os.environ.get("ADAPTERLAB_ROOT", CHECKOUT)) / "mlruns" / "results"
    parser.add_argument("--root", type=_folder, default=default, help="store of the studies")
    parser.add_argument("--texts", type=_folder, help="store that has the studies on texts")
    parser.add_argument("--page", type=_folder, default=PAGE, help="the page to write")
    parser.add_argument("--only", nargs="+", choices=STUDIES, metavar="PRESET", help="some of it")
    parser.add_argument(
        "--no-train", dest="train", action="store_false", help="write what the store has"
    )
    return parser.parse_args(arguments)


def _folder(text: str) -> Path:
    return Path(text).expanduser().resolve()


def _stored(study: Study, root: Path) -> Report | None:
    """Return a study's report; None, which is said, where the store has none of its runs."""
    try:
        return read(study, root)
    except AdapterLabError as error:
        if not str(error).startswith(f"study={study.name}: no "):
            raise
        print(f"  {error}", flush=True)
        return None


def _rates(report: Report, task: int) -> dict[str, str]:
    """Return the learning rate of each arm of a data set, if they differ."""
    runs = report.page.runs
    if len(report.tasks) > 1:  # whose arms may share a name
        own = {run.run_id for run in report.tasks[task].runs}
        runs = replace(runs, rows=tuple(row for row in runs.rows if row[0] in own))
    if "optimizer.lr" not in runs.header:
        return {}
    arm, rate = runs.header.index("arm"), runs.header.index("optimizer.lr")
    rates: dict[str, list[str]] = {}
    for row in runs.rows:
        if row[rate] not in rates.setdefault(row[arm], []):
            rates[row[arm]].append(row[rate])
    differ = len({rate for values in rates.values() for rate in values}) > 1
    return {name: " or ".join(values) for name, values in rates.items()} if differ else {}


def _escaped(text: str) -> str:
    """Make a text stand for itself in Markdown."""
    return re.sub(r"([\\`*_\[\]|<>#$])", r"\\\1", text)


if __name__ == "__main__":
    main()
