"""A study as files to work on: every run and every arm, with all options and all digits."""

from collections.abc import Sequence
from pathlib import Path

from adapterlab.base.csv_cells import write_rows
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.study import NO_NAMES, Run, within
from adapterlab.reporting.tables import Table, verdict_of
from adapterlab.runs.identity import BOOKKEEPING, SEEDS

COMPARED = (
    *("difference", "difference.low", "difference.high"),
    *("p", "p_adjusted", "smallest_detectable"),
)
"""Columns of an arm's comparison with the reference."""

_KEPT_APART = (*(option for option in BOOKKEEPING if option not in ("budget", "tuning")), "seed")
"""Options that say where a run is kept, and the one that has a column of its own."""


def write_csv(table: Table, path: Path) -> None:
    """Write a table for a spreadsheet; a text that it would run gets a quote before it.

    Raises:
        OSError: the file cannot be written.
    """
    write_rows([table.header, *table.rows], path)


def runs_table(findings: Findings) -> Table:
    """Return every run: the options in which arms differ, and all its final metrics."""
    return _runs(findings, _options(findings.runs, NO_NAMES)[0], [])


def runs_csv(findings: Findings) -> Table:
    """Return every run: options that differ, all its final metrics, and options that all share.

    Runs that did not finish are in it as well, with what came of them and why.
    """
    runs = [run for arm in findings.all_arms for run in (*arm.runs, *arm.lost)]
    return _runs(findings, *_options(runs, _KEPT_APART))


def _runs(findings: Findings, varied: Sequence[str], shared: Sequence[str]) -> Table:
    runs = [(arm.name, run) for arm in findings.all_arms for run in (*arm.runs, *arm.lost)]
    metrics = sorted({name for _, run in runs for name in run.metrics})
    rows = [
        (
            *(run.run_id, name, run.strategy, str(run.replicate), str(run.status), run.reason),
            *(run.params.get(key, "") for key in varied),
            *(str(run.metrics.get(metric, "")) for metric in metrics),
            *(run.params.get(key, "") for key in shared),
        )
        for name, run in runs
    ]
    header: tuple[str, ...] = ("run_id", "arm", "strategy", "replicate", "status", "reason")
    header += (*varied, *metrics, *shared)
    return Table("Runs", header, tuple(rows))


def arms_csv(findings: Findings) -> Table:
    """Return every figure of every arm in full precision, its spread, comparison and options.

    Options in which arms differ come first, those that all share last; seeds are left out.
    """
    names = sorted({name for arm in findings.arms for name in arm.figures})
    figures = [f"{name}{part}" for name in names for part in ("", ".sd", ".low", ".high")]
    varied, shared = _options(findings.runs, (*_KEPT_APART, *SEEDS))
    rows = []
    for arm in findings.arms:
        cells: list[object] = [arm.name, arm.strategy, len(arm.arm.runs), arm.arm.tried]
        cells += [verdict_of(arm), arm.letters, arm.may_be_best]
        cells += [_same(arm, key) for key in varied]
        cells += _comparison(arm)
        for name in names:
            cells += _figure(arm, name)
        cells += [_same(arm, key) for key in shared]
        rows.append(tuple("" if cell is None else str(cell) for cell in cells))
    header = (
        "arm",
        "strategy",
        "runs",
        "tried",
        "verdict",
        "letters",
        "may_be_best",
        *varied,
        *COMPARED,
        *figures,
        *shared,
    )
    return Table("Arms", header, tuple(rows))


def _options(runs: Sequence[Run], left_out: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options in which runs differ, and those that all share, by name."""
    keys = sorted({key for run in runs for key in run.params if not within(key, left_out)})
    shared = [key for key in keys if len({run.params.get(key) for run in runs}) == 1]
    return [key for key in keys if key not in set(shared)], shared


def _same(arm: ArmFindings, key: str) -> str:
    """Return an option of an arm; empty where its runs do not agree, or do not have it."""
    values = {run.params.get(key, "") for run in arm.arm.runs}
    return values.pop() if len(values) == 1 else ""


def _comparison(arm: ArmFindings) -> list[object]:
    one = arm.comparison
    if one is None:
        return [None] * len(COMPARED)
    ends = (one.interval.low, one.interval.high) if one.interval else (None, None)
    return [one.difference, *ends, one.p, one.p_adjusted, one.smallest_detectable]


def _figure(arm: ArmFindings, name: str) -> list[object]:
    figure = arm.figure(name)
    if figure is None:
        return [None] * 4
    interval = figure.interval
    ends = (interval.low, interval.high) if interval else (None, None)
    return [figure.mean, figure.deviation, *ends]
