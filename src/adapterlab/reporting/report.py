"""The report of a study: what it says for sure, written as pages, tables and pictures."""

from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace
from html import escape
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from adapterlab.errors import ConfigError, allowed
from adapterlab.reporting.canvas import save
from adapterlab.reporting.findings import ArmFindings, Findings, find
from adapterlab.reporting.notes import about, facts, notes
from adapterlab.reporting.page import Page, Picture, as_html, as_markdown, svg_of
from adapterlab.reporting.spreadsheets import arms_csv, runs_csv, runs_table, write_csv
from adapterlab.reporting.study import arms_of, read_runs
from adapterlab.reporting.tables import (
    Table,
    arms_table,
    costs_table,
    matched_tables,
    short_table,
)
from adapterlab.reporting.verdict import verdict
from adapterlab.study_run import log_report
from adapterlab.tracking import connect
from adapterlab.validation import STRICT, checked


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Which study to report on; see conf/report.yaml."""

    study: str
    reference: str | None
    experiment: str
    tracking_uri: str | None
    root: str


@plain_dataclass(frozen=True, kw_only=True)
class Report:
    """What was found, and what of it was written.

    Attributes:
        findings: about the study's arms.
        page: what the report says.
        folder: where the pages, tables and pictures are; None if they were not written.
    """

    findings: Findings = field(repr=False)
    page: Page = field(repr=False)
    folder: Path | None = None

    @property
    def html(self) -> Path | None:
        """The page to open."""
        return None if self.folder is None else self.folder / "report.html"

    def table(self) -> Table:
        """Return one row an arm, the best on the test split first, in short."""
        return short_table(self.findings)

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
        folder = Path() if self.folder is None else self.folder / "figures"
        drawn = {path.stem: path for path in sorted(folder.glob("*.png"))}
        if stem not in drawn:
            raise ConfigError(f"{stem} is no figure of this study; {allowed(stem, drawn)}")
        return drawn[stem]

    def _repr_html_(self) -> str:
        """Return verdict, tables of evidence and costs, and notes as a notebook shows them."""
        verdict = "".join(f"<p><b>{escape(sentence)}</b></p>" for sentence in self.page.verdict)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.page.notes)
        tables = "".join(table._repr_html_() for table in self.page.tables[:2])
        return f"{verdict}{tables}<ul>{notes}</ul>"


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
    report, client = _read(request)
    findings = report.findings
    folder = _mlruns(request) / "reports" / request.study
    page = replace(report.page, pictures=_draw(findings, folder / "figures"))
    (folder / "report.html").write_text(as_html(page), encoding="utf-8")
    (folder / "report.md").write_text(as_markdown(page), encoding="utf-8")
    write_csv(runs_csv(findings), folder / "runs.csv")
    write_csv(arms_csv(findings), folder / "arms.csv")
    names = _new_names(findings)
    metrics = _metrics(findings)
    log_report(client, request.study, request.experiment, folder, page.verdict, names, metrics)
    return Report(findings=findings, page=page, folder=folder)


def read_report(request: Request) -> Report:
    """Read a study from MLflow, and write nothing.

    Raises:
        AdapterLabError: it has no finished runs.
        ConfigError: the reference is none of its arms.
    """
    return _read(request)[0]


def _read(request: Request) -> tuple[Report, Any]:
    client = connect(request.tracking_uri, _mlruns(request))
    runs = read_runs(client, request.study, request.experiment)
    findings = find(request.study, arms_of(runs), request.reference)
    return Report(findings=findings, page=_page(findings)), client


def _new_names(findings: Findings) -> dict[str, tuple[str, str]]:
    """Return arm and name of the runs that MLflow has under other ones; renaming takes its time."""
    names = {}
    for arm in findings.arms:
        for run in arm.arm.runs:
            # MLflow's table of runs shows some twenty characters of a name.
            name = f"{arm.name.replace('optimizer.', '')} seed {run.seed}"
            if (run.tags.get("arm_name"), run.tags.get("mlflow.runName")) != (arm.name, name):
                names[run.run_id] = (arm.name, name)
    return names


def _metrics(findings: Findings) -> dict[str, float]:
    """Return the figures of the study's own run, under ``study/`` in MLflow."""
    best = findings.reference.accuracy
    metrics = {"runs": len(findings.runs), "arms": len(findings.arms), "best_accuracy": best.mean}
    if best.interval is not None:
        metrics |= {
            "best_accuracy_low": best.interval.low,
            "best_accuracy_high": best.interval.high,
        }
    return metrics


def _mlruns(request: Request) -> Path:
    return Path(request.root).expanduser().resolve() / "mlruns"


def _draw(findings: Findings, folder: Path) -> list[Picture]:
    """Draw what the study has, as SVG for the page and as PNG beside it."""
    from adapterlab.reporting.study_figures import FIGURES  # which a printed table does without

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
        save(figure, folder / f"{stem}.png")
        pictures.append(Picture(stem, title, caption, svg))
    return pictures


def _page(findings: Findings) -> Page:
    return Page(
        study=findings.study,
        about=about(findings),
        verdict=verdict(findings),
        tables=[arms_table(findings), costs_table(findings), *matched_tables(findings)],
        pictures=(),
        notes=notes(findings),
        facts=facts(findings),
        runs=runs_table(findings),
    )
