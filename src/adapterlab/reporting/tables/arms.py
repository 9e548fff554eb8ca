"""The tables of a report, as text cells: for the terminal, a page, and a spreadsheet."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape

from adapterlab.evidence.verdicts import Verdict
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.formatting import (
    NOT_MEASURED,
    ends,
    gap,
    p_value,
    percent,
    percents,
    seconds,
    signed,
    size,
    with_interval,
)
from adapterlab.reporting.reading.study import Arm, Status

CONSTANT = {
    "accuracy": "the most frequent class",
    "micro_f1": "the most frequent labels",
    "r2": "the mean",
}
"""What is answered without looking, by the main metric of a task."""

OVER = "not within the budget"

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


COSTS: Mapping[str, Cell] = {
    "kept on source": lambda arm: with_interval(arm.figure("source/accuracy_after")),
    "trained parameters": lambda arm: _whole(arm, "params/trainable"),
    "of the model": lambda arm: _of_the_model(arm),
    "adapter": lambda arm: _bytes(arm),
    "seconds alone": lambda arm: _seconds(arm, "cost/train_seconds"),
    "seconds in a pack": lambda arm: _seconds(arm, "cost/lane_seconds"),
}


def evidence(findings: Findings) -> dict[str, Cell]:
    """Return the columns that say what arms are worth, and how surely."""
    metric = findings.compared_on
    columns: dict[str, Cell] = {
        "verdict": lambda arm: verdict_of(arm),
        "may be best": lambda arm: _may_be_best(arm),
        "letters": lambda arm: arm.letters,
        "runs": lambda arm: runs_of(arm.arm),
        f"test {metric}": lambda arm: with_interval(arm.score, metric),
        "difference": lambda arm: _difference(arm, findings),
        "p": lambda arm: _p(arm, findings),
        "would have found": lambda arm: _detectable(arm, metric),
        f"validation {findings.selected_on}": lambda arm: with_interval(
            arm.figure(f"best/val_{findings.selected_on}"), findings.selected_on
        ),
    }
    if metric != findings.main:
        columns[f"test {findings.main}"] = lambda arm: with_interval(arm.accuracy, findings.main)
    return columns


def arms_table(findings: Findings) -> Table:
    """Return one row an arm, best mean on the test split first: what it is worth, how surely.

    Arms of which no run finished come after it, and the base as it is, where its head fits the
    target's classes, comes last.
    """
    return _table("Arms", findings, evidence(findings))


def costs_table(findings: Findings) -> Table:
    """Return one row an arm: what it forgets, trains and takes.

    A column that no arm has a figure for is left out.
    """
    return _table("Costs", findings, COSTS)


def short_table(findings: Findings) -> Table:
    """Return the columns that a terminal has room for."""
    both = {**evidence(findings), **COSTS}
    short = (
        *("verdict", "may be best", "letters", "runs", f"test {findings.compared_on}"),
        *("difference", "kept on source", "trained parameters"),
        *("seconds alone", "seconds in a pack"),
    )
    return _table("Arms", findings, {name: both[name] for name in short})


def _table(title: str, findings: Findings, columns: Mapping[str, Cell]) -> Table:
    filled = {
        name: cell
        for name, cell in columns.items()
        if any(cell(arm) not in ("", NOT_MEASURED) for arm in findings.arms)
    }
    rows = [(arm.name, *(cell(arm) for cell in filled.values())) for arm in findings.arms]
    for lost in findings.lost:
        only = {"verdict": fate(lost), "runs": runs_of(lost)}
        rows.append((lost.name, *(only.get(name, "") for name in filled)))
    main = findings.main
    before = f"target/{main}_before"
    zero = {value for arm in findings.arms for value in arm.arm.values(before)}
    if zero and f"test {main}" in filled:
        # It was not trained, so nothing but its accuracy is known, and it takes part in no test.
        accuracy = percents(zero, joint="or")
        only = {f"test {main}": accuracy, "verdict": "not trained"}
        rows.append(("zero-shot: the base as it is", *(only.get(name, "") for name in filled)))
    rows += _floors(findings, filled)
    return Table(title, ("arm", *filled), tuple(rows))


def _floors(findings: Findings, columns: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield what needs no model: the most frequent class, and a linear model."""
    main = findings.main
    if f"test {main}" not in columns:
        return
    floors = {
        f"floor: {CONSTANT[main]}": f"data/majority_{main}",
        "floor: a linear model": f"data/baseline_{main}",
    }
    for name, metric in floors.items():
        values = {value for arm in findings.arms for value in arm.arm.values(metric)}
        if values:
            only = {f"test {main}": percents(values, joint="or"), "verdict": "no model"}
            yield (name, *(only.get(column, "") for column in columns))


def matched_tables(findings: Findings) -> list[Table]:
    """Return the arms of like rank and the arms of like budget, side by side.

    A rank costs one strategy more parameters than another, so the two answer different questions.
    An arm that is over its budget stands below those that are within it, without a verdict.
    """
    tables = []
    metric = findings.compared_on
    for title, key in (
        ("Equal rank", lambda arm: _rank(arm)),
        ("Equal budget", lambda arm: arm.arm.first.tags.get("budget")),
    ):
        groups: dict[str, list[ArmFindings]] = {}
        for arm in findings.arms:
            if (value := key(arm)) is not None:
                groups.setdefault(value, []).append(arm)
        rows = [
            (f"{title.split()[1]} {value}", *_matched(arm, metric))
            for value, arms in groups.items()
            if len({arm.strategy for arm in arms}) > 1
            for arm in sorted(arms, key=lambda arm: arm.over_budget)
        ]
        if rows:
            header: tuple[str, ...] = ("", "arm", f"test {metric}", "verdict", "letters")
            header += ("trained parameters", "of the budget")
            width = len(header) if any(row[-1] for row in rows) else len(header) - 1
            cut = tuple(row[:width] for row in rows)
            tables.append(Table(title, header[:width], cut))
    return tables


def verdict_of(arm: ArmFindings) -> str:
    """Return an arm's verdict, and what to know of it; the reference is called that."""
    said = "reference" if arm.comparison is None else str(arm.comparison.verdict)
    if arm.unsteady:
        said += f"; {arm.unsteady}"
    if arm.over_budget:
        said += f"; {OVER}"
    return said


def fate(arm: Arm) -> str:
    """Say what came of an arm without a finished run: ``all 5 diverged``."""
    counts = {status: arm.count(status) for status in Status if arm.count(status)}
    if len(counts) == 1:
        status, count = next(iter(counts.items()))
        return f"all {count} {status}" if count > 1 else str(status)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def runs_of(arm: Arm) -> str:
    """Say how many of an arm's runs finished, and what came of the others.

    Runs that other arms have and this one never began are missing.
    """
    total = arm.tried + len(arm.missing)
    if total == len(arm.runs):
        return str(total)
    lost = [
        f"{arm.count(status)} {status}"
        for status in Status
        if status is not Status.FINISHED and arm.count(status)
    ]
    if arm.missing:
        lost.append(f"{len(arm.missing)} missing")
    return f"{len(arm.runs)} of {total}: {', '.join(lost)}"


def _may_be_best(arm: ArmFindings) -> str:
    if arm.may_be_best is None:
        return ""
    return "yes" if arm.may_be_best else "no"


def _difference(arm: ArmFindings, findings: Findings) -> str:
    one, metric = arm.comparison, findings.compared_on
    if one is None or one.verdict is Verdict.NOT_COMPARABLE:
        return ""
    if one.interval is None:
        return signed(one.difference, metric)
    return f"{signed(one.difference, metric)} ({ends(one.interval, metric, findings.margin)})"


def _p(arm: ArmFindings, findings: Findings) -> str:
    if arm.comparison is None or arm.comparison.interval is None or findings.family is None:
        return ""
    return p_value(arm.comparison.p_adjusted, findings.family.level)


def _detectable(arm: ArmFindings, metric: str) -> str:
    one = arm.comparison
    if one is None or one.smallest_detectable is None:
        return ""
    return gap(one.smallest_detectable, metric).split()[0]


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
    return None if "budget" in arm.arm.first.tags else arm.param("adapter.rank")


def _matched(arm: ArmFindings, metric: str) -> tuple[str, ...]:
    near = arm.figure("budget/near")
    within = not arm.over_budget
    return (
        arm.name,
        with_interval(arm.score, metric),
        verdict_of(arm) if within else OVER,
        arm.letters if within else "",
        _whole(arm, "params/trainable"),
        "" if near is None else f"{near.mean:.1%}",
    )
