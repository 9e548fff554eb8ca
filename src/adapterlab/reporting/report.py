"""The report of a study: what it says for sure, written as pages, tables and pictures."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace
from html import escape
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.base.files import NOT_WRITABLE, write_bytes, write_text
from adapterlab.base.locks import waited_for
from adapterlab.base.redaction import without_password
from adapterlab.config.bookkeeping import FileName
from adapterlab.config.validation import STRICT, checked
from adapterlab.reporting.comparing.data_sets import find_all
from adapterlab.reporting.content import page_of, study_metrics
from adapterlab.reporting.findings import Findings, Question
from adapterlab.reporting.formatting import as_file_name
from adapterlab.reporting.overall import Overall, luck_in, on_questions, only_luck, ranks_of
from adapterlab.reporting.page import Page, Picture, as_html, as_markdown, svg_of
from adapterlab.reporting.reading.folds import PARTS, pooled
from adapterlab.reporting.reading.study import Arm, arms_of, read_runs
from adapterlab.reporting.sentences.luck import variance_table
from adapterlab.reporting.sentences.tuning import (
    on_failures,
    on_pruned,
    on_seeds,
    on_superseded,
    superseded,
)
from adapterlab.reporting.tables.arms import Table, short_table
from adapterlab.reporting.tables.spreadsheets import arms_csv, runs_csv, write_csv
from adapterlab.reporting.tuning_study import read_trials, tuning_of
from adapterlab.runs.folders.abandoned import bury_of_study
from adapterlab.tracking.client import connect_to_read
from adapterlab.tracking.looks import look_at, metrics_at
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.tracking.study_run import log_report
from adapterlab.tracking.tuning_tags import study_of_trials


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Which study to report on; see conf/report.yaml."""

    study: FileName
    reference: str | None = None
    planned: bool = False
    compare_on: str = "auto"
    margin: Annotated[float, Field(gt=0)] | None = None
    experiment: str
    tracking_uri: str | None
    root: str


@plain_dataclass(frozen=True, kw_only=True)
class Report:
    """What was found, and what of it was written.

    Attributes:
        tasks: what was found on each data set, the one with most arms first.
        overall: what there is beside them.
        page: what the report says.
        folder: where the pages, tables and pictures are; None if they were not written.
    """

    tasks: tuple[Findings, ...] = field(repr=False)
    overall: Overall = field(repr=False)
    page: Page = field(repr=False)
    folder: Path | None = None

    @property
    def findings(self) -> Findings:
        """What was found on the data set, or on the first of several."""
        return self.tasks[0]

    @property
    def html(self) -> Path | None:
        """The page to open."""
        return None if self.folder is None else self.folder / "report.html"

    def table(self, task: int = 0) -> Table:
        """Return one row an arm of a data set, the best on the test split first, in short.

        Of a study that varies only what is drawn at random, one row a source of luck.
        """
        found = self.tasks[task]
        if found.task in self.overall.luck and only_luck(found):
            return variance_table(self.overall.luck[found.task])
        return short_table(found)

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

    Where the root may only be read nothing is written, and a note says so.

    Raises:
        AdapterLabError: it has no finished runs.
        ConfigError: the reference is none of its arms, or the metric is none.
    """
    report, arms, client = _read(request)
    folder = _mlruns(request) / "reports" / request.study
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Another process that reports on the study would take the pictures away.
        lock = folder.parent / f".{request.study}.lock"
        with waited_for(lock, f"the report of study {request.study}"):
            page = _write(report, folder)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        said = (
            f"nothing was written: {folder} may only be read ({error.strerror}); with root=FOLDER "
            f"tracking_uri={_uri(request)} the report goes to a place of yours"
        )
        return replace(report, page=replace(report.page, notes=(*report.page.notes, said)))
    names, metrics = _new_names(arms), study_metrics(report.tasks)
    log_report(client, request.study, request.experiment, folder, page.verdict, names, metrics)
    return replace(report, page=page, folder=folder)


def _write(report: Report, folder: Path) -> Page:
    """Write the pages, tables and pictures of a report; return the page with these."""
    page = replace(report.page, pictures=_draw(report, folder / "figures"))
    write_text(folder / "report.html", as_html(page))
    write_text(folder / "report.md", as_markdown(page))
    for name, table in (("runs", runs_csv), ("arms", arms_csv)):
        for task in report.tasks:
            suffix = "" if len(report.tasks) == 1 else f"-{as_file_name(task.task)}"
            write_csv(table(task), folder / f"{name}{suffix}.csv")
    return page


def read_report(request: Request) -> Report:
    """Read a study from MLflow, and write no file; that it was looked at is kept.

    Raises:
        AdapterLabError: it has no finished runs.
        ConfigError: the reference is none of its arms, or the metric is none.
    """
    return _read(request)[0]


def _read(request: Request) -> tuple[Report, list[Arm], Any]:
    if request.planned and request.reference is None:
        raise ConfigError("planned=true needs the reference that was planned: set reference=...")
    client = connect_to_read(request.tracking_uri, _mlruns(request), f"study={request.study}")
    bury_of_study(client, _mlruns(request), request.study, request.experiment)
    runs = read_runs(client, request.study, request.experiment, _mlruns(request))
    replaced = superseded(runs)
    counting = [run for run in runs if run.run_id not in replaced]
    together, on_folds = pooled(counting, _cache(_mlruns(request)))
    arms = arms_of(together)
    sizes = [len(arm.runs) for arm in arms] or [0]
    look, said = look_at(client, request.study, request.experiment, sizes)
    question = Question(
        reference=request.reference,
        planned=request.planned,
        compare_on=request.compare_on,
        margin=request.margin,
        level=look.level,
    )
    tasks, gaps = find_all(request.study, arms, question)
    lucks = {task.task: found for task in tasks if (found := luck_in(task)) is not None}
    trials = read_trials(client, request.study, request.experiment)
    tested = [task.compared_on for task in tasks if task.family and task.family.pairs]
    metrics = metrics_at(client, request.study, request.experiment, tested) if tested else ()
    overall = Overall(
        notes=(
            *([said] if said else []),
            *on_questions(metrics, len(tested), look.level),
            *on_folds,
            *on_superseded(runs),
            *on_seeds(counting, trials),
            *on_failures(trials),
            *on_pruned(trials),
            *gaps,
        ),
        tuning=tuple(tuning_of(study_of_trials(request.study), trials)),
        ranks=ranks_of(tasks),
        luck={task: luck for task, (luck, _) in lucks.items()},
        lucky={task: arm for task, (_, arm) in lucks.items()},
    )
    return Report(tasks=tasks, overall=overall, page=page_of(tasks, overall)), arms, client


def _new_names(arms: Sequence[Arm]) -> dict[str, tuple[str, str]]:
    """Return arm and name of the runs that MLflow has under other ones; renaming takes its time."""
    names = {}
    for arm in arms:
        for run in (*arm.runs, *arm.lost):
            if PARTS in run.tags:  # MLflow has its folds, by their own names
                continue
            # MLflow's table of runs shows some twenty characters of a name.
            name = f"{arm.name.replace('optimizer.', '')} {run.replicate}"
            if (run.tags.get("arm_name"), run.tags.get("mlflow.runName")) != (arm.name, name):
                names[run.run_id] = (arm.name, name)
    return names


def _uri(request: Request) -> str:
    """Return where the runs are read from, without a password."""
    return without_password(request.tracking_uri or default_uri(_mlruns(request)))


def _cache(mlruns: Path) -> Path:
    """Return where predictions of folds are kept together: where nobody may write, for now only."""
    cache = mlruns / "cache"
    nearest = next(path for path in (cache, *cache.parents) if path.exists())
    if os.access(nearest, os.W_OK):
        return cache
    kept = Path(tempfile.mkdtemp(prefix="adapterlab-"))
    atexit.register(shutil.rmtree, kept, ignore_errors=True)
    return kept


def _mlruns(request: Request) -> Path:
    return Path(request.root).expanduser().resolve() / "mlruns"


def _draw(report: Report, folder: Path) -> list[Picture]:
    """Draw what the study has, as SVG for the page and as PNG beside it."""
    from adapterlab.drawing.canvas import save  # which a printed table does without
    from adapterlab.reporting.figures.study import drawings

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink(missing_ok=True)
    pictures = []
    for one in drawings(report.tasks, report.overall):
        svg = svg_of(one.figure)
        narrow = None if one.narrow is None else svg_of(one.narrow)
        write_bytes(folder / f"{one.stem}.svg", svg)
        save(one.figure, folder / f"{one.stem}.png")
        pictures.append(Picture(one.stem, one.title, one.caption, svg, narrow))
    return pictures
