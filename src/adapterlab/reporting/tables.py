"""The tables of a report, as text cells: for the terminal and a page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.words import (
    NOT_MEASURED,
    mean_and_half,
    p_value,
    percent,
    points,
    seconds,
    size,
)

ZERO_SHOT = "target/accuracy_before"
"""The accuracy of the base as it is on the target's test split."""

Cell = Callable[[ArmFindings], str]


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        title: what it shows.
        header: the columns' names.
        rows: cells; the first of each row names it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        header = "".join(f"<th>{escape(name)}</th>" for name in self.header)
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self.rows)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


EVIDENCE: Mapping[str, Cell] = {
    "seeds": lambda arm: str(len(arm.accuracy.values)),
    "test accuracy": lambda arm: mean_and_half(arm.accuracy),
    "verdict": lambda arm: verdict_of(arm),
    "difference": lambda arm: _difference(arm),
    "p (Holm)": lambda arm: "" if not arm.comparison else p_value(arm.comparison.p_adjusted),
    "could have seen": lambda arm: _detectable(arm),
    "validation": lambda arm: mean_and_half(arm.figure("best/val_accuracy")),
}
COSTS: Mapping[str, Cell] = {
    "kept on source": lambda arm: mean_and_half(arm.figure("source/accuracy_after")),
    "trained parameters": lambda arm: _whole(arm, "params/trainable"),
    "of the model": lambda arm: _of_the_model(arm),
    "adapter": lambda arm: _bytes(arm),
    "seconds alone": lambda arm: _seconds(arm, "cost/train_seconds"),
    "seconds in a pack": lambda arm: _seconds(arm, "cost/lane_seconds"),
}
_SHORT = (
    *("seeds", "test accuracy", "verdict", "difference"),
    *("kept on source", "trained parameters", "seconds alone", "seconds in a pack"),
)


def arms_table(findings: Findings) -> Table:
    """Return one row an arm, best mean on the test split first: what it is worth, how surely.

    The base as it is, where its head fits the target's classes, comes last.
    """
    return _table("Arms", findings, EVIDENCE)


def costs_table(findings: Findings) -> Table:
    """Return one row an arm: what it forgets, trains and takes.

    A column that no arm has a figure for is left out.
    """
    return _table("Costs", findings, COSTS)


def short_table(findings: Findings) -> Table:
    """Return the columns that a terminal has room for."""
    both = {**EVIDENCE, **COSTS}
    return _table("Arms", findings, {name: both[name] for name in _SHORT})


def _table(title: str, findings: Findings, columns: Mapping[str, Cell]) -> Table:
    filled = {
        name: cell
        for name, cell in columns.items()
        if any(cell(arm) not in ("", NOT_MEASURED) for arm in findings.arms)
    }
    rows = [(arm.name, *(cell(arm) for cell in filled.values())) for arm in findings.arms]
    zero = {value for arm in findings.arms for value in arm.arm.values(ZERO_SHOT)}
    if zero and "test accuracy" in filled:
        # It was not trained, so nothing but its accuracy is known, and it takes part in no test.
        accuracy = " or ".join(sorted(percent(value) for value in zero))
        only = {"test accuracy": accuracy, "verdict": "not trained"}
        rows.append(("zero-shot: the base as it is", *(only.get(name, "") for name in filled)))
    return Table(title, ("arm", *filled), tuple(rows))


def matched_tables(findings: Findings) -> list[Table]:
    """Return the arms of like rank and the arms of like budget, side by side.

    A rank costs one strategy more parameters than another, so the two answer different questions.
    """
    tables = []
    for title, key in (
        ("Equal rank", lambda arm: _rank(arm)),
        ("Equal budget", lambda arm: arm.arm.runs[0].tags.get("budget")),
    ):
        groups: dict[str, list[ArmFindings]] = {}
        for arm in findings.arms:
            if (value := key(arm)) is not None:
                groups.setdefault(value, []).append(arm)
        rows = [
            (f"{title.split()[1]} {value}", *_matched(arm))
            for value, arms in groups.items()
            if len({arm.strategy for arm in arms}) > 1
            for arm in arms
        ]
        if rows:
            header = ("", "arm", "test accuracy", "verdict", "trained parameters", "of the budget")
            width = len(header) if any(row[-1] for row in rows) else len(header) - 1
            cut = tuple(row[:width] for row in rows)
            tables.append(Table(title, header[:width], cut))
    return tables


def verdict_of(arm: ArmFindings) -> str:
    """Return an arm's verdict; the reference has none."""
    return "reference" if arm.comparison is None else str(arm.comparison.verdict)


def _difference(arm: ArmFindings) -> str:
    one = arm.comparison
    if one is None:
        return ""
    if one.interval is None:
        return points(one.difference)
    ends = f"{points(one.interval.low)} to {points(one.interval.high)}"
    return f"{points(one.difference)} ({ends})"


def _detectable(arm: ArmFindings) -> str:
    one = arm.comparison
    if one is None or one.smallest_detectable is None or one.p is None:
        return ""
    return f"{100 * one.smallest_detectable:.2f}"


def _whole(arm: ArmFindings, name: str) -> str:
    figure = arm.figure(name)
    return NOT_MEASURED if figure is None else f"{figure.mean:,.0f}"


def _of_the_model(arm: ArmFindings) -> str:
    trained, total = arm.figure("params/trainable"), arm.figure("params/total")
    return NOT_MEASURED if trained is None or total is None else percent(trained.mean / total.mean)


def _bytes(arm: ArmFindings) -> str:
    figure = arm.figure("cost/adapter_bytes")
    return NOT_MEASURED if figure is None else size(figure.mean)


def _seconds(arm: ArmFindings, name: str) -> str:
    figure = arm.figure(name)
    return NOT_MEASURED if figure is None else seconds(figure)


def _rank(arm: ArmFindings) -> str | None:
    return None if "budget" in arm.arm.runs[0].tags else arm.param("adapter.rank")


def _matched(arm: ArmFindings) -> tuple[str, ...]:
    near = arm.figure("budget/near")
    return (
        arm.name,
        mean_and_half(arm.accuracy),
        verdict_of(arm),
        _whole(arm, "params/trainable"),
        "" if near is None else f"{near.mean:.1%}",
    )
