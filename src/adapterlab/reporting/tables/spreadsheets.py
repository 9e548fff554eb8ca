"""A study as files to work on: every run and every arm, with all options and all digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterlab.base.csv_cells import write_rows
from adapterlab.base.dotted_names import within
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.reading.naming import SOURCE_DATA
from adapterlab.reporting.reading.study import NO_NAMES, Run
from adapterlab.reporting.tables.arms import Table, fate, verdict_of
from adapterlab.runs.identity import BOOKKEEPING, SEEDS

COMPARED = (
    *("difference", "difference.low", "difference.high"),
    *("p", "p_adjusted", "smallest_detectable"),
)
"""Columns of an arm's comparison with the reference."""

_KEPT_APART = (*(option for option in BOOKKEEPING if option not in ("budget", "tuning")), "seed")
"""Options that say where a run is kept, and the one that has a column of its own."""


@dataclass(frozen=True)
class Sheet:
    """Rows of values, of which files and frames are made.

    Attributes:
        header: names of the columns.
        rows: a value or None, which is not there, of every column.
        options: columns that are options of runs, as they were logged: as text.
        numbers: columns that hold numbers only, also where none of them was measured.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    options: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()

    def as_table(self, title: str) -> Table:
        """Return the values as text, all digits of them; what is not there is empty."""
        text = (tuple("" if cell is None else str(cell) for cell in row) for row in self.rows)
        return Table(title, self.header, tuple(text))


def write_csv(table: Table, path: Path) -> None:
    """Write a table for a spreadsheet; a text that it would run gets a quote before it.

    Raises:
        OSError: the file cannot be written.
    """
    write_rows([table.header, *table.rows], path)


def runs_table(findings: Findings) -> Table:
    """Return every run: the options in which arms differ, and all its final metrics."""
    return _runs(findings, _options(findings.runs, (*NO_NAMES, SOURCE_DATA))[0], []).as_table(
        "Runs"
    )


def runs_csv(findings: Findings) -> Table:
    """Return `runs_sheet` as text."""
    return runs_sheet(findings).as_table("Runs")


def runs_sheet(findings: Findings) -> Sheet:
    """Return every run: options that differ, all its final metrics, and options that all share.

    Runs that did not finish are in it as well, with what came of them and why.
    """
    runs = [run for arm in findings.all_arms for run in (*arm.runs, *arm.lost)]
    return _runs(findings, *_options(runs, _KEPT_APART))


def _runs(findings: Findings, varied: Sequence[str], shared: Sequence[str]) -> Sheet:
    runs = [(arm.name, run) for arm in findings.all_arms for run in (*arm.runs, *arm.lost)]
    metrics = sorted({name for _, run in runs for name in run.metrics})
    rows = [
        (
            *(run.run_id, name, run.strategy, str(run.replicate), str(run.status), run.reason),
            *(run.params.get(key) for key in varied),
            *(run.metrics.get(metric) for metric in metrics),
            *(run.params.get(key) for key in shared),
        )
        for name, run in runs
    ]
    header: tuple[str, ...] = ("run_id", "arm", "strategy", "replicate", "status", "reason")
    header += (*varied, *metrics, *shared)
    return Sheet(header, tuple(rows), frozenset([*varied, *shared]), frozenset(metrics))


def arms_csv(findings: Findings) -> Table:
    """Return `arms_sheet` as text."""
    return arms_sheet(findings).as_table("Arms")


def arms_sheet(findings: Findings) -> Sheet:
    """Return every figure of every arm in full precision, its spread, comparison and options.

    Options in which arms differ come first, those that all share last; seeds are left out. Arms
    of which no run has finished have no figures, and say as verdict what came of their runs.
    """
    names = sorted({name for arm in findings.arms for name in arm.figures})
    figures = [f"{name}{part}" for name in names for part in ("", ".sd", ".low", ".high")]
    varied, shared = _options(findings.runs, (*_KEPT_APART, *SEEDS))
    rows = []
    for arm in findings.arms:
        cells: list[object] = [arm.name, arm.strategy, len(arm.arm.runs), arm.arm.tried]
        cells += [verdict_of(arm), arm.letters, arm.may_be_best]
        cells += [_same(arm.arm.runs, key) for key in varied]
        cells += _comparison(arm)
        for name in names:
            cells += _figure(arm, name)
        cells += [_same(arm.arm.runs, key) for key in shared]
        rows.append(tuple(cells))
    for lost in findings.lost:
        cells = [lost.name, lost.first.strategy, 0, lost.tried, fate(lost), "", None]
        cells += [_same(lost.lost, key) for key in varied]
        cells += [None] * (len(COMPARED) + len(figures))
        cells += [_same(lost.lost, key) for key in shared]
        rows.append(tuple(cells))
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
    options, numbers = frozenset([*varied, *shared]), frozenset([*COMPARED, *figures])
    return Sheet(header, tuple(rows), options, numbers)


def _options(runs: Sequence[Run], left_out: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the options in which runs differ, and those that all share, by name."""
    keys = sorted({key for run in runs for key in run.params if not within(key, left_out)})
    shared = [key for key in keys if len({run.params.get(key) for run in runs}) == 1]
    return [key for key in keys if key not in set(shared)], shared


def _same(runs: Sequence[Run], key: str) -> str | None:
    """Return an option of an arm; None where its runs do not agree, or do not have it."""
    values = {run.params.get(key) for run in runs}
    return values.pop() if len(values) == 1 else None


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
