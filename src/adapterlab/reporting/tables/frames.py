"""A study as pandas frames: the values of arms.csv and runs.csv, as numbers where they are some.

What was not measured is not filled in: it is missing (NaN), and `missing_frame` says why.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from adapterlab.reporting.findings import Findings
from adapterlab.reporting.tables.spreadsheets import Sheet, arms_sheet, runs_sheet

MISSING = "missing."
"""What the tags begin with in which a run says why it did not measure a figure."""


def arms_frame(tasks: Sequence[Findings]) -> pd.DataFrame:
    """Return one row an arm; see `spreadsheets.arms_sheet`.

    Args:
        tasks: what was found on each data set.
    """
    frame = _joined(tasks, arms_sheet)
    # With a word for what is not known, so that it can select rows.
    frame["may_be_best"] = frame["may_be_best"].astype("boolean")
    return frame


def runs_frame(tasks: Sequence[Findings]) -> pd.DataFrame:
    """Return one row a run, finished or not; see `spreadsheets.runs_sheet`.

    Args:
        tasks: what was found on each data set.
    """
    return _joined(tasks, runs_sheet)


def missing_frame(tasks: Sequence[Findings]) -> pd.DataFrame:
    """Return one row for each figure that a run did not measure, with the reason.

    Args:
        tasks: what was found on each data set.
    """
    rows = [
        (run.run_id, arm.name, task.task, tag.removeprefix(MISSING), why)
        for task in tasks
        for arm in task.all_arms
        for run in (*arm.runs, *arm.lost)
        for tag, why in sorted(run.tags.items())
        if tag.startswith(MISSING)
    ]
    return pd.DataFrame(rows, columns=["run_id", "arm", "dataset", "figure", "why"])


def _joined(tasks: Sequence[Findings], sheet: Callable[[Findings], Sheet]) -> pd.DataFrame:
    """Put data sets below each other; what one does not have is missing there."""
    frames, options = [], set[str]()
    for task in tasks:
        one = sheet(task)
        options |= one.options
        frame = pd.DataFrame(list(one.rows), columns=list(one.header))
        frame.insert(frame.columns.get_loc("arm") + 1, "dataset", task.task)
        # Where no value is there, pandas cannot know that they would be numbers.
        frames.append(frame.astype(dict.fromkeys(one.numbers, float)))
    joined = pd.concat(frames, ignore_index=True)
    for name in options:
        joined[name] = _numbers(joined[name])
    return joined.copy()  # in one piece: pandas warns who adds a column to many


def _numbers(column: "pd.Series[str]") -> "pd.Series":
    """Return an option as numbers, where all of its values are some."""
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column
