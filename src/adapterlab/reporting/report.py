"""The report of a study: what it says for sure, written as pages, tables and pictures."""

from collections.abc import Sequence
from dataclasses import field, replace
from html import escape
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from adapterlab.errors import ConfigError, allowed
from adapterlab.reporting.findings import ArmFindings, Findings, find
from adapterlab.reporting.page import Page, Picture, as_html, as_markdown, svg_of
from adapterlab.reporting.study import Run, arms_of, read_runs
from adapterlab.reporting.study_figures import FIGURES
from adapterlab.reporting.tables import (
    Table,
    arms_csv,
    arms_table,
    matched_tables,
    runs_csv,
    write_csv,
)
from adapterlab.reporting.verdict import verdict
from adapterlab.reporting.words import counted, percent
from adapterlab.tracking import connect, log_report
from adapterlab.validation import STRICT, checked


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Which study to report on; see conf/report.yaml."""

    study: str
    reference: str | None
    experiment: str
    tracking_uri: str | None
    root: str


@dataclass(frozen=True, kw_only=True, config={"arbitrary_types_allowed": True})
class Report:
    """What was found and written.

    Attributes:
        findings: about the study's arms.
        verdict: three sentences.
        notes: what a reader must know.
        folder: where the pages, tables and pictures are.
        html: the page to open.
    """

    findings: Findings = field(repr=False)
    verdict: tuple[str, str, str]
    notes: tuple[str, ...]
    folder: Path
    html: Path

    def table(self) -> Table:
        """Return one row an arm, the best on the test split first."""
        return arms_table(self.findings)

    def arm(self, name: str) -> ArmFindings:
        """Return what was found on one arm.

        Raises:
            ConfigError: there is no arm of this name.
        """
        arms = {arm.name: arm for arm in self.findings.arms}
        if name not in arms:
            raise ConfigError(f"{name} is no arm; {allowed(name, arms)}")
        return arms[name]

    def picture(self, stem: str) -> Path:
        """Return a figure's file, such as that of ``accuracy``.

        Raises:
            ConfigError: the report has no such figure.
        """
        drawn = {path.stem: path for path in sorted((self.folder / "figures").glob("*.png"))}
        if stem not in drawn:
            raise ConfigError(f"{stem} is no figure of this study; {allowed(stem, drawn)}")
        return drawn[stem]

    def _repr_html_(self) -> str:
        """Return verdict, table and notes as a notebook shows them."""
        verdict = "".join(f"<p><b>{escape(sentence)}</b></p>" for sentence in self.verdict)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"{verdict}{self.table()._repr_html_()}<ul>{notes}</ul>"


def parse_request(values: Any) -> Request:
    """Check the options of a report.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def make_report(request: Request) -> Report:
    """Read a study from MLflow, write its report, and keep that with the study's run.

    Raises:
        AdapterLabError: it has no finished runs.
        ConfigError: the reference is none of its arms.
    """
    mlruns = Path(request.root).expanduser().resolve() / "mlruns"
    client = connect(request.tracking_uri, mlruns)
    runs = read_runs(client, request.study, request.experiment)
    findings = find(client, request.study, arms_of(runs), request.reference)
    folder = mlruns / "reports" / request.study
    page = _page(findings)
    pictures = _draw(findings, folder / "figures")
    page = replace(page, pictures=pictures)
    (folder / "report.html").write_text(as_html(page), encoding="utf-8")
    (folder / "report.md").write_text(as_markdown(page), encoding="utf-8")
    write_csv(runs_csv(findings), folder / "runs.csv")
    write_csv(arms_csv(findings), folder / "arms.csv")
    # MLflow's table of runs shows some twenty characters of a name.
    names = {
        run.run_id: (arm.name, f"{arm.name.replace('optimizer.', '')} seed {run.seed}")
        for arm in findings.arms
        for run in arm.arm.runs
    }
    log_report(client, request.study, request.experiment, folder, page.verdict, names)
    return Report(
        findings=findings,
        verdict=verdict(findings),
        notes=tuple(page.notes),
        folder=folder,
        html=folder / "report.html",
    )


def _draw(findings: Findings, folder: Path) -> list[Picture]:
    """Draw what the study has, as SVG for the page and as PNG beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    pictures = []
    for stem, (title, caption, draw) in FIGURES.items():
        figure = draw(findings)
        if figure is None:
            continue
        svg = svg_of(figure)
        (folder / f"{stem}.svg").write_bytes(svg)
        figure.savefig(folder / f"{stem}.png", dpi=150)
        pictures.append(Picture(stem, title, caption, svg))
    return pictures


def _page(findings: Findings) -> Page:
    return Page(
        study=findings.study,
        about=_about(findings),
        verdict=verdict(findings),
        tables=[arms_table(findings), *matched_tables(findings)],
        pictures=(),
        notes=_notes(findings),
        facts=_facts(findings),
        runs=runs_csv(findings),
    )


def _about(findings: Findings) -> str:
    runs = [run for arm in findings.arms for run in arm.arm.runs]
    models = "/".join(dict.fromkeys(run.tags.get("model", "?") for run in runs))
    datasets = "/".join(dict.fromkeys(run.tags.get("dataset", "?") for run in runs))
    of = f"{counted(len(findings.arms), 'arm')}, {counted(len(runs), 'run')}"
    reference = findings.reference.name
    why = "as asked" if findings.chosen else f"best {findings.selected_on} on validation"
    return f"{models} on {datasets}: {of}. Reference: {reference} ({why})."


def _notes(findings: Findings) -> list[str]:
    """Return what a reader of the tables must know."""
    arms = findings.arms
    runs = [run for arm in arms for run in arm.arm.runs]
    notes = []
    if all(len(arm.arm.runs) == 1 for arm in arms):
        notes.append("one seed an arm says nothing about the spread between seeds")
    if not findings.chosen and len(arms) > 1:
        notes.append(
            "the reference was chosen on validation, which the test split has no part in; "
            "validation figures of a chosen arm flatter it"
        )
    notes += _on_rates(findings)
    before = {value for arm in arms for value in arm.arm.values("source/accuracy_before")}
    if before:
        notes.append(
            f"the base had {', '.join(sorted({percent(value) for value in before}))} on the source "
            "task before"
        )
    if any(arm.figure("cost/lane_seconds") for arm in arms):
        notes.append(
            "seconds in a pack are a run's share of the time of runs that were trained together; "
            "they do not compare with those of runs alone"
        )
    if len({run.tags.get("hardware.id") for run in runs}) > 1:
        notes.append("seconds come from different hardware and do not compare")
    notes += _missing(runs)
    notes += findings.gaps
    notes += sorted({note for run in runs if (note := run.tags.get("data_notes"))})
    return notes


def _missing(runs: Sequence[Run]) -> list[str]:
    """Say which figures were not measured, and why."""
    why: dict[tuple[str, int], list[str]] = {}
    for name, reason in sorted({tag for run in runs for tag in run.tags.items()}):
        if name.startswith("missing.") and "in a pack of" not in reason:
            count = sum(run.tags.get(name) == reason for run in runs)
            why.setdefault((reason, count), []).append(name.removeprefix("missing."))
    return [
        f"not measured in {count} of {len(runs)} runs, {' and '.join(names)}: {reason}"
        for (reason, count), names in why.items()
    ]


def _on_rates(findings: Findings) -> list[str]:
    """Say how learning rates were chosen: it decides what a comparison is worth."""
    runs = [run for arm in findings.arms for run in arm.arm.runs]
    tuned = [run for run in runs if "tuned.study" in run.tags]
    if len(tuned) == len(runs):
        studies = "/".join(dict.fromkeys(run.tags["tuned.study"] for run in runs))
        trials = "/".join(dict.fromkeys(run.tags.get("tuned.trials", "?") for run in runs))
        chosen = (f"{arm.name} {arm.param('optimizer.lr')}" for arm in findings.arms)
        return [
            f"learning rates were tuned on validation in study {studies}, {trials} trials an arm: "
            + ", ".join(chosen)
        ]
    rates = {run.params.get("optimizer.lr") for run in runs}
    strategies = {arm.strategy for arm in findings.arms}
    if len(rates) == 1 and len(strategies) > 1:
        return [
            f"all strategies share one learning rate, {rates.pop()}: tuned for each, they might "
            "rank otherwise (experiment=compare tunes)"
        ]
    return []


def _facts(findings: Findings) -> list[tuple[str, str]]:
    runs = [run for arm in findings.arms for run in arm.arm.runs]
    wanted = {
        "data set": "dataset",
        "model": "model",
        "base": "base",
        "precision": "precision",
        "processor": "hardware.cpu",
        "GPU": "hardware.gpu",
        "threads": "hardware.threads",
        "torch": "hardware.torch",
        "Lightning": "hardware.lightning",
        "Python": "hardware.python",
        "commit": "git_commit",
    }
    facts = []
    for name, tag in wanted.items():
        values: Sequence[str] = sorted({run.tags[tag] for run in runs if tag in run.tags})
        if values:
            facts.append((name, ", ".join(values)))
    return facts
