"""What runs said of each test example where it has several labels, or a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from adapterlab.base.errors import ConfigError
from adapterlab.config.tasks import Task
from adapterlab.evidence.all_metrics import contributions_of, known
from adapterlab.evidence.contributions import SOURCE
from adapterlab.reporting.reading.logged import PREDICTIONS, artifact, read_source, why_none
from adapterlab.reporting.reading.study import Run


@dataclass(frozen=True, eq=False)
class TaskScores:
    """Scores of an arm's S runs, as contributions of N test examples.

    Attributes:
        labels: of the examples.
        values: of each metric that was read, ``[S, N]``.
        classes: names of labels.
    """

    labels: npt.NDArray[Any]
    values: Mapping[str, npt.NDArray[np.float64]]
    classes: tuple[str, ...]


def read_task_scores(
    runs: Sequence[Run], task: Task, metrics: Sequence[str]
) -> tuple[TaskScores | None, str]:
    """Read what an arm's runs said, and what some metrics are made of.

    Args:
        runs: of one arm.
        task: that they learnt.
        metrics: of the task, or `SOURCE`; the last is the one that arms are compared on.

    Returns:
        The scores, and an empty text; where a metric cannot be had of every run it is left out,
        and the text says why. None, and why, where there are no predictions.

    Raises:
        ConfigError: there is no such metric of this task.
    """
    rows: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in metrics}
    labels: npt.NDArray[Any] | None = None
    reasons: dict[str, str] = {}
    for run in runs:
        path = artifact(run, PREDICTIONS)
        if path is None:
            return None, why_none(run)
        said, true, classes, thresholds = _read(path, task)
        if labels is not None and not np.array_equal(labels, true):
            return None, "its runs were tested on different examples"
        labels = true
        for name in set(metrics) - {SOURCE}:
            try:
                known(task, name, classes)
            except ValueError as error:
                raise ConfigError(f"compare_on={error}") from None
            try:
                rows[name].append(contributions_of(task, name, said, true, classes, thresholds))
            except ValueError as error:  # a label has too few examples
                reasons[name] = str(error)
    values = {
        name: np.stack(found)
        for name, found in rows.items()
        if found and name not in reasons and name != SOURCE
    }
    if SOURCE in metrics:
        source, why = read_source(runs)
        reasons |= {SOURCE: why} if why else {}
        values |= {} if source is None else {SOURCE: source.values}
    assert labels is not None
    return TaskScores(labels, values, classes), reasons.get(metrics[-1], "")


def _read(
    path: Path, task: Task
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], tuple[str, ...], npt.NDArray[np.float64] | None]:
    """Return what a run said, the labels, their names, and the thresholds."""
    table = pq.read_table(path)
    metadata = table.schema.metadata or {}
    classes = tuple(metadata.get(b"classes", b"").decode().split("\n"))
    if task == "regression":
        return table["prediction"].to_numpy(), table["label"].to_numpy(), classes, None
    logits = table["logits"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    logits = logits.reshape(len(table), -1)
    marks = np.zeros(logits.shape, dtype=np.bool_)
    column = table["label"].combine_chunks()
    counts = np.diff(column.offsets.to_numpy())
    places = np.repeat(np.arange(len(marks)), counts)
    marks[places, column.flatten().to_numpy(zero_copy_only=False)] = True
    limits = np.array([float(one) for one in metadata[b"thresholds"].decode().split("\n")])
    return logits, marks, classes, limits
