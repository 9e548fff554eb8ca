"""Metrics of all tasks by name: what they are, and what each example contributes to them."""

from collections.abc import Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterlab.config.tasks import F1, Task
from adapterlab.evidence.arrays import Floats
from adapterlab.evidence.class_scores import of_a_class, title_of
from adapterlab.evidence.contributions import METRICS, Metric, Values, contributions
from adapterlab.evidence.contributions import known as known_of_classes
from adapterlab.evidence.metrics import metric_names
from adapterlab.evidence.multi_label import multi_label_contributions
from adapterlab.evidence.regression import regression_contributions

OF_LABELS: Mapping[str, Metric] = MappingProxyType(
    {
        "micro_f1": Metric("micro-F1", "points", "alike", higher_is_better=True),
        "macro_f1": METRICS["macro_f1"],
        "mean_average_precision": Metric(
            "mean average precision", "points", "classes", higher_is_better=True
        ),
        "exact_match": Metric(
            "share with all labels right", "points", "share", higher_is_better=True
        ),
        "bce": Metric("binary cross-entropy", "nats", "alike", higher_is_better=False, most=inf),
    }
)

OF_NUMBERS: Mapping[str, Metric] = MappingProxyType(
    {
        "r2": Metric("R²", "points", "alike", higher_is_better=True, least=-inf),
        "pearson": Metric(
            "Pearson correlation", "points", "alike", higher_is_better=True, least=-1.0
        ),
        "spearman": Metric(
            "Spearman correlation", "points", "alike", higher_is_better=True, least=-1.0
        ),
        "mse": Metric("mean squared error", "", "alike", higher_is_better=False, most=inf),
        "rmse": Metric("root mean squared error", "", "alike", higher_is_better=False, most=inf),
        "mae": Metric("mean absolute error", "", "alike", higher_is_better=False, most=inf),
    }
)

_OF_TASKS: Mapping[Task, Mapping[str, Metric]] = MappingProxyType(
    {"multi_label": OF_LABELS, "regression": OF_NUMBERS}
)

_ALL = {**METRICS, **OF_LABELS, **OF_NUMBERS}


def metric(name: str) -> Metric | None:
    """Return what a metric of any task is; None if there is none of that name."""
    if of_a_class(name):
        return Metric(title_of(name), "points", "classes", higher_is_better=True)
    return _ALL.get(name)


def higher_is_better(name: str) -> bool:
    """Say whether more of a metric is better.

    Raises:
        ValueError: there is no such metric.
    """
    if (found := metric(name)) is None:
        raise ValueError(f"{name} is no metric; allowed: {', '.join(_ALL)}")
    return found.higher_is_better


def known(task: Task, name: str, classes: Sequence[str]) -> Metric:
    """Return a metric of a task.

    Args:
        task: which one.
        name: of the metric.
        classes: names of classes or labels.

    Raises:
        ValueError: there is none; the text has the value and what is allowed.
    """
    if task == "single_label":
        return known_of_classes(name, classes)
    names = [*_OF_TASKS[task]]
    if task == "multi_label":
        names += [f"{F1}{one}" for one in metric_names(classes)]
    found = metric(name) if name in names else None
    if found is None:
        raise ValueError(f"{name} is no metric of task={task}; allowed: {', '.join(names)}")
    return found


def contributions_of(
    task: Task,
    name: str,
    said: Floats,
    labels: npt.NDArray[Any],
    classes: Sequence[str],
    thresholds: Floats | None = None,
) -> Values:
    """Return a score's contribution of each example, as `contributions.contributions` does.

    Args:
        task: what was learnt.
        name: of one of the task's metrics.
        said: logits ``[N, C]``, or numbers ``[N]``.
        labels: class indices ``[N]``, bool ``[N, C]``, or numbers ``[N]``.
        classes: names of classes or labels.
        thresholds: of several labels, ``[C]``.

    Returns:
        float64 ``[N]``; their mean is the score.

    Raises:
        ValueError: no such metric, or the examples do not show its spread.
    """
    known(task, name, classes)
    if task == "regression":
        return regression_contributions(name, said, labels)
    if task == "multi_label":
        return multi_label_contributions(
            name, said, np.asarray(labels, dtype=np.bool_), classes, thresholds
        )
    return contributions(name, said, labels, classes)
