"""A study as a Python object: what its report says, to work on."""

import warnings
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

from adapterlab.app.arguments import values_of
from adapterlab.app.python_calls import composing, in_python
from adapterlab.base.amounts import counted
from adapterlab.base.errors import ConfigError, allowed
from adapterlab.evidence.verdicts import Comparison
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.report import Report, Request, make_report, parse_request, read_report

if TYPE_CHECKING:
    import pandas as pd

    from adapterlab.reporting.figures.study import Drawing


def study(
    name: str,
    *,
    reference: str | None = None,
    planned: bool = False,
    compare_on: str = "auto",
    margin: float | None = None,
    experiment: str | None = None,
    tracking_uri: str | None = None,
    root: str | Path | None = None,
) -> "Study":
    """Read a study from MLflow; the options are those of ``python scripts/report.py``.

    Nothing is written but that the study was looked at.

    Args:
        name: the `study` that its runs were given.
        reference: the arm to compare the others with; None for the best on validation.
        planned: whether it was named before any run was seen: only comparisons with it count.
        compare_on: the metric of the test split that arms are compared on; ``auto`` is the main one
            of the task.
        margin: a difference that does not matter, in points or the metric's unit; None as the runs
            say.
        experiment: of MLflow; None for that of conf/report.yaml.
        tracking_uri: of MLflow's store; None for the one under ``root/mlruns``.
        root: the folder of ``mlruns``; None for ADAPTERLAB_ROOT, or the command line's.

    Raises:
        AdapterLabError: the study has no finished runs, or the store does not answer.
        ConfigError: an option is wrong.
    """
    with in_python():
        with composing("report"):
            composed = hydra.compose("report")
        values = values_of(composed, whole=False)
        given = {
            "reference": reference,
            "planned": planned,
            "compare_on": compare_on,
            "margin": float(margin) if isinstance(margin, int) else margin,
            "experiment": experiment,
            "tracking_uri": tracking_uri,
            "root": None if root is None else str(root),
        }
        values |= {option: value for option, value in given.items() if value is not None}
        values["study"] = name  # which has no default: None is as wrong as a number
        request = parse_request(values)
        return Study(request, read_report(request))


class Study:
    """What a study found, as it was when it was read.

    Args:
        request: which study, and what is asked of it.
        found: what its report says.
    """

    def __init__(self, request: Request, found: Report) -> None:
        self._request, self._found = request, found

    @property
    def name(self) -> str:
        """Its name."""
        return self._request.study

    @property
    def verdict(self) -> str:
        """What is known, what is not, and what would tell."""
        return "\n".join(self._found.page.verdict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        return tuple(self._found.page.notes)

    @cached_property
    def arms(self) -> "pd.DataFrame":
        """One row an arm, the best mean first: figures, spread, comparison, options."""
        from adapterlab.reporting.tables.frames import arms_frame

        return arms_frame(self._found.tasks)

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """One row a run, finished or not: what came of it, options, final metrics."""
        from adapterlab.reporting.tables.frames import runs_frame

        return runs_frame(self._found.tasks)

    @cached_property
    def missing(self) -> "pd.DataFrame":
        """One row for each figure that a run did not measure, with the reason."""
        from adapterlab.reporting.tables.frames import missing_frame

        return missing_frame(self._found.tasks)

    @cached_property
    def figures(self) -> "Figures":
        """The figures of the report by name; each shows itself in a notebook."""
        from adapterlab.reporting.figures.study import drawings

        return Figures((one.stem, one) for one in drawings(self._found.tasks, self._found.overall))

    def best(self) -> "pd.DataFrame":
        """Return the rows of the arms that may be best; none where that is not known."""
        arms = self.arms
        return arms[arms["may_be_best"].fillna(False)]

    def compare(self, a: str, b: str, *, dataset: str | None = None) -> Comparison:
        """Return what was found on two arms, from the point of view of the first.

        All pairs of a study are tested together, so any two may be looked at.

        Args:
            a: an arm, by its name or what tells it from the others.
            b: another one.
            dataset: of a study of several data sets, the one that is meant.

        Raises:
            ConfigError: there is no such arm, or no such data set.
            AdapterLabError: the two were not compared; it says why.
        """
        from adapterlab.reporting.comparing.pair import compare

        return compare(self.findings(dataset), a, b)

    def findings(self, dataset: str | None = None) -> Findings:
        """Return all that is behind the report, as it is in Python.

        Args:
            dataset: of a study of several data sets, the one that is meant.

        Raises:
            ConfigError: there is no such data set, or several.
        """
        tasks = {task.task: task for task in self._found.tasks}
        if dataset is None and len(tasks) == 1:
            return self._found.findings
        if dataset not in tasks:
            raise ConfigError(f"dataset={dataset} is none of this study; {allowed(dataset, tasks)}")
        return tasks[dataset]

    def report(self) -> Report:
        """Read the study again, write its report as ``scripts/report.py`` does, and return it.

        Pictures of its runs that were left to the report are drawn; it warns of those that cannot,
        and where nothing can be written.

        Raises:
            AdapterLabError: the study has no finished runs, or a file cannot be written.
        """
        from adapterlab.studies.deferred_pictures import draw_deferred

        with in_python():
            report, request = make_report(self._request), self._request
            if report.folder is None:  # the last note says why, and where else it may go
                warnings.warn(report.page.notes[-1], stacklevel=3)
                return report
            drawn = draw_deferred(request.root, request.study, request.tracking_uri)
            if drawn.left:
                warnings.warn(drawn.lines[-1], stacklevel=3)
            return report

    def help(self) -> None:
        """Print what there is."""
        print(f"{self!r}\n")
        for name in ("verdict", "notes", "arms", "runs", "missing", "figures"):
            print(f"  .{name:<18}{_first_line(getattr(Study, name))}")
        for name, call in _CALLS.items():
            print(f"  .{call:<18}{_first_line(getattr(Study, name))}")

    def __repr__(self) -> str:
        tasks = self._found.tasks
        arms = counted(sum(len(task.all_arms) for task in tasks), "arm")
        runs = counted(sum(task.tried for task in tasks), "run")
        return f"<Study {self.name}: {arms}, {runs}; .help() says what there is>"

    def _repr_html_(self) -> str:
        return f"<h4>{escape(repr(self)[1:-1])}</h4>{self._found._repr_html_()}"


class Figures(dict[str, "Drawing"]):
    """Figures by name.

    Raises:
        ConfigError: there is no figure of this name; it lists those that there are.
    """

    def __missing__(self, name: str) -> "Drawing":
        raise ConfigError(f"{name} is no figure of this study; {allowed(name, self)}")


_CALLS = {
    "best": "best()",
    "compare": "compare(a, b)",
    "findings": "findings()",
    "report": "report()",
}


def _first_line(member: Any) -> str:
    return str(member.__doc__).partition("\n")[0]
