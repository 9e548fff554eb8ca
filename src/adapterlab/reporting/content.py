"""What a study's report says: one data set after the other, and what holds over all of them."""

from collections.abc import Sequence
from dataclasses import replace

from adapterlab.base.amounts import counted
from adapterlab.evidence.variance import Luck
from adapterlab.reporting.findings import Findings, headline
from adapterlab.reporting.formatting import percent, title_of
from adapterlab.reporting.overall import Overall, only_luck
from adapterlab.reporting.page import Page
from adapterlab.reporting.rates import about_rates, rates_of, rates_tables
from adapterlab.reporting.reading.runs import Status
from adapterlab.reporting.sentences.luck import about_luck, variance_table
from adapterlab.reporting.sentences.notes import about, facts, notes
from adapterlab.reporting.sentences.verdict import verdict
from adapterlab.reporting.tables.arms import Table, arms_table, costs_table, matched_tables
from adapterlab.reporting.tables.seeds import flips_table, seeds_table
from adapterlab.reporting.tables.spreadsheets import runs_table
from adapterlab.reporting.tables.tasks import about_tasks, tasks_table


def page_of(tasks: Sequence[Findings], overall: Overall) -> Page:
    """Return a report's text and tables; pictures come later.

    Args:
        tasks: what was found on each data set, at least one.
        overall: what there is beside that.
    """
    pages = [_page(task, overall) for task in tasks]
    if len(tasks) == 1:
        return replace(pages[0], notes=[*overall.notes, *pages[0].notes])
    names = [task.task for task in tasks]
    ranks = overall.ranks
    scores = "Accuracies" if all(task.main == "accuracy" for task in tasks) else "Scores"
    over = [f"{scores} on different data sets are not compared with each other."]
    if ranks is not None:
        over = about_tasks(ranks)
        if any(task.compared_on != task.main for task in tasks):
            mains = " and ".join(dict.fromkeys(title_of(task.main) for task in tasks))
            over.append(f"ranks over data sets are of {mains}, whatever else arms are compared on")
    return Page(
        study=tasks[0].study,
        about=" ".join(page.about for page in pages),
        verdict=[
            over[0],
            *(f"{name}: {' '.join(p.verdict)}" for name, p in zip(names, pages, strict=True)),
        ],
        tables=[
            *([tasks_table(ranks)] if ranks is not None else []),
            *(
                replace(table, title=f"{name}: {table.title}")
                for name, page in zip(names, pages, strict=True)
                for table in page.tables
            ),
        ],
        pictures=(),
        notes=[*overall.notes, *over[1:], *_merged(names, [page.notes for page in pages])],
        facts=list(dict.fromkeys(fact for page in pages for fact in page.facts)),
        runs=_joined([page.runs for page in pages]),
    )


def _merged(names: Sequence[str], notes: Sequence[Sequence[str]]) -> list[str]:
    """Put notes on data sets together; one that is not on all says on which it is."""
    return list(
        dict.fromkeys(
            note if all(note in others for others in notes) else f"{name}: {note}"
            for name, own in zip(names, notes, strict=True)
            for note in own
        )
    )


def study_metrics(tasks: Sequence[Findings]) -> dict[str, float]:
    """Return the figures of the study's own run, under ``study/`` in MLflow.

    Of several data sets there is no best accuracy.
    """
    arms = [arm for task in tasks for arm in task.all_arms]
    finished, tried = sum(len(arm.runs) for arm in arms), sum(arm.tried for arm in arms)
    pruned, going = (
        sum(arm.count(status) for arm in arms) for status in (Status.PRUNED, Status.RUNNING)
    )
    metrics = {
        "runs": float(tried),
        "arms": float(len(arms)),
        "failed": float(tried - finished - pruned - going),
    }
    metrics |= {
        name: float(count) for name, count in (("pruned", pruned), ("running", going)) if count
    }
    if any(arm.may_be_best is not None for task in tasks for arm in task.arms):
        metrics["may_be_best"] = float(sum(len(task.best) for task in tasks))
    if len(tasks) == 1 and not only_luck(tasks[0]):
        found = tasks[0]
        best, interval = found.reference.accuracy, found.reference.accuracy.interval
        name = f"best_{found.main}"
        metrics[name] = best.mean
        if found.compared_on == found.main:
            interval, _ = headline(found)
        if interval is not None:
            metrics |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return metrics


def _page(findings: Findings, overall: Overall) -> Page:
    luck = overall.luck.get(findings.task)
    if luck is not None and only_luck(findings):
        return _page_of_luck(findings, luck)
    lucky = overall.lucky.get(findings.task, "") if len(findings.arms) > 1 else ""
    of = f"{lucky}: " if lucky else ""
    rates = rates_of(findings)
    tables = [
        arms_table(findings),
        costs_table(findings),
        *matched_tables(findings),
        *([] if rates is None else rates_tables(rates)),
        seeds_table(findings.arms),
        flips_table(findings.reference),
        None if luck is None else _of_arm(variance_table(luck), lucky),
    ]
    return Page(
        study=findings.study,
        about=about(findings),
        verdict=(*verdict(findings), *([] if rates is None else about_rates(rates))),
        tables=[table for table in tables if table is not None],
        pictures=(),
        # A few seeds leave open which source rules: the table shows it, a sentence says nothing.
        notes=[
            *([of + about_luck(luck)] if luck is not None and len(luck.rules) == 1 else []),
            *notes(findings),
        ],
        facts=facts(findings),
        runs=runs_table(findings),
    )


def _page_of_luck(findings: Findings, luck: Luck) -> Page:
    """Say where the luck comes from, of a study that compares nothing."""
    values = [value for arm in findings.arms for value in arm.accuracy.values]
    mean, runs = sum(values) / len(values), counted(len(values), "run")
    models = "/".join(dict.fromkeys(run.tags.get("model", "?") for run in findings.runs))
    return Page(
        study=findings.study,
        about=f"{models} on {findings.task}: {runs} that differ only in what is drawn at random.",
        verdict=(
            about_luck(luck),
            f"The test accuracies of all {runs} have a mean of {percent(mean)}, and lie between "
            f"{percent(min(values))} and {percent(max(values))}. Nothing else was varied, so no "
            "arms are compared.",
        ),
        tables=[variance_table(luck)],
        pictures=(),
        notes=[note for note in notes(findings) if not note.startswith("means are over")],
        facts=facts(findings),
        runs=runs_table(findings),
    )


def _of_arm(table: Table, name: str) -> Table:
    """Say of which arm a table is, where that is one of several."""
    return replace(table, title=f"{table.title}: {name}") if name else table


def _joined(tables: Sequence[Table]) -> Table:
    """Put tables of runs below each other; what one does not have is empty there."""
    header = tuple(dict.fromkeys(name for table in tables for name in table.header))
    rows = []
    for table in tables:
        for row in table.rows:
            cells = dict(zip(table.header, row, strict=True))
            rows.append(tuple(cells.get(name, "") for name in header))
    return Table(tables[0].title, header, tuple(rows))
