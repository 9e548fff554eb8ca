"""The comparison of a study's arms: a table for the terminal, a picture for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from rich.table import Table

from adapterlab.reporting.canvas import save
from adapterlab.reporting.figures import ArmSummary, comparison_figure
from adapterlab.reporting.study import Arm, arms_of, read_runs
from adapterlab.tracking import connect
from adapterlab.validation import STRICT, checked

IN_PACKS = "in packs"
"""Marks the seconds of runs that were lanes of a pack."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Which study to report on; see conf/report.yaml."""

    study: str
    experiment: str
    tracking_uri: str | None
    root: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found and written.

    Attributes:
        study: its name.
        arms: best mean accuracy on the target's test split first.
        figure: the picture.
    """

    study: str
    arms: tuple[Arm, ...]
    figure: Path

    def table(self) -> Table:
        """Return one row an arm: target, source, parameters, time."""
        table = Table(title=f"Study {self.study}", title_justify="left")
        table.add_column("arm")
        for heading in ("runs", "accuracy on target", "kept on source", "trainable", "seconds"):
            table.add_column(heading, justify="right")
        for arm in self.arms:
            table.add_row(
                arm.name,
                str(len(arm.runs)),
                _spread(arm.values("test/accuracy")),
                _spread(arm.values("source/accuracy_after")),
                f"{int(arm.runs[0].metrics['params/trainable']):,}",
                _seconds(arm),
            )
        return table

    def notes(self) -> list[str]:
        """Return what a reader of the table must know."""
        notes = ["accuracies on test splits: mean (lowest to highest over the seeds)"]
        if all(len(arm.runs) == 1 for arm in self.arms):
            notes = ["accuracies on test splits; one seed an arm says nothing about the spread"]
        before = {value for arm in self.arms for value in arm.values("source/accuracy_before")}
        if before:
            ranges = sorted({f"{value:.2%}" for value in before})
            notes.append(f"the base had {', '.join(ranges)} on the source task before")
        if any(arm.values("cost/lane_seconds") for arm in self.arms):
            notes.append(
                f"seconds '{IN_PACKS}' are a run's share of the time of runs that were trained "
                "together; they do not compare with those of runs alone"
            )
        machines = {run.tags.get("hardware.id") for arm in self.arms for run in arm.runs}
        if len(machines) > 1:
            notes.append("seconds come from different hardware and do not compare")
        data = {run.tags.get("data_notes") for arm in self.arms for run in arm.runs}
        notes.extend(sorted(note for note in data if note))
        return notes


def parse_request(values: Any) -> Request:
    """Check the options of a report.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def make_report(request: Request) -> Report:
    """Read a study from MLflow, and draw it.

    Raises:
        AdapterLabError: it has no finished runs.
    """
    mlruns = Path(request.root).expanduser().resolve() / "mlruns"
    runs = read_runs(connect(request.tracking_uri, mlruns), request.study, request.experiment)
    arms = sorted(arms_of(runs), key=_rank)
    figure = mlruns / "reports" / request.study / "comparison.png"
    figure.parent.mkdir(parents=True, exist_ok=True)
    save(comparison_figure([_summary(arm) for arm in arms]), figure)
    return Report(study=request.study, arms=tuple(arms), figure=figure)


def _rank(arm: Arm) -> tuple[float, str]:
    return -(arm.mean("test/accuracy") or 0.0), arm.name


def _summary(arm: Arm) -> ArmSummary:
    return ArmSummary(
        name=arm.name,
        target=arm.values("test/accuracy"),
        source=arm.values("source/accuracy_after"),
        trainable=int(arm.runs[0].metrics["params/trainable"]),
    )


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    mean = f"{sum(values) / len(values):.2%}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2%}-{max(values):.2%})"


def _seconds(arm: Arm) -> str:
    """Return the mean seconds of an arm's runs; those of lanes are marked, and apart."""
    parts = []
    if (mean := arm.mean("cost/train_seconds")) is not None:
        parts.append(f"{mean:.1f}")
    if (mean := arm.mean("cost/lane_seconds")) is not None:
        parts.append(f"{mean:.1f} {IN_PACKS}")
    return ", ".join(parts) or "not measured"
