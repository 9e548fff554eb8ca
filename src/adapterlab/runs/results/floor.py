"""A linear model on the rows of a run, computed beside its training and kept for the next one."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapterlab.base.cache import Entry, found, stored
from adapterlab.base.errors import first_line
from adapterlab.base.revision import version_of
from adapterlab.base.workers import submit
from adapterlab.config.schema import BASES, Config
from adapterlab.config.tasks import Task, main_metric
from adapterlab.data.splits import ImageSplits, Splits
from adapterlab.data.targets import as_classes
from adapterlab.evidence.floor import COMPONENTS, image_floor, text_floor
from adapterlab.runs.data import RunData
from adapterlab.runs.preprocessing import run_splits

ROWS = 5000
"""Training rows that it is fitted to, at most: seconds on a CPU."""

ALIKE = "the training rows are all labelled alike"
"""Why there is none where nothing can be told apart."""

Fit = Callable[[], float]

_NAME, _VALUE = "floor", "accuracy"
_FORMAT = 1


@dataclass
class Floor:
    """The score of a linear model on a run's test examples, as soon as it is known.

    Attributes:
        how: what was fitted to how many rows.
        why: there is none; empty if there is one, or none was asked for.
        metric: the task's main one, accuracy of one label.
    """

    how: str = ""
    why: str = ""
    metric: str = "accuracy"
    _known: float | None = field(default=None, repr=False)
    _coming: "Future[float] | None" = field(default=None, repr=False)

    def score(self) -> float | None:
        """Return it, waiting if need be; None, and `why`, where it could not be computed."""
        if self._coming is not None:
            try:
                self._known = self._coming.result()
            except Exception as error:  # nothing of the run depends on it
                self.why = f"the linear model failed: {first_line(error)}"
            self._coming = None
        return self._known


def begin_floor(config: Config, read: RunData, test_hash: str) -> Floor:
    """Return the floor of a run, which a process beside this one may still compute.

    Args:
        config: of the run.
        read: its data.
        test_hash: of the examples that it is tested on.
    """
    if config.baseline == "never" or config.study == BASES:
        return Floor()
    dataset = config.dataset
    key = [
        *(_FORMAT, version_of("scikit-learn"), read.hash, test_hash),
        *(config.limit_of("train"), dataset.validation, dataset.validation_seed),
    ]
    if config.task != "single_label":
        key.append(config.task)
    return read.once(f"{_NAME} {key}", lambda: _begun(config, read, key))


def _begun(config: Config, read: RunData, key: list[Any]) -> Floor:
    metric = main_metric(config.task)
    if (known := _kept(config, key)) is not None:
        return known
    splits: Splits[Any] = read.target
    train, _, test = run_splits(config, config.dataset, splits)
    rows = fitted_rows(train.labels)
    if rows is None:
        return Floor(why=ALIKE, metric=metric)
    some = train.select(rows) if len(rows) < len(train) else train
    fit: Fit
    labels = some.labels.numpy(), test.labels.numpy()
    linear = linear_model(config.task)
    if isinstance(read.target, ImageSplits):
        images = [split.images.numpy() for split in (some, test)]
        fit = partial(image_floor, images[0], labels[0], images[1], labels[1])
        how = f"{linear} on the pixels' first {COMPONENTS} principal components"
    else:
        fit = partial(text_floor, some.texts, labels[0], test.texts, labels[1])
        how = f"{linear} on TF-IDF of words and word pairs"
    return begin_fit(config, key, how + share(rows, train.labels), lambda: fit)


def fitted_rows(labels: Tensor) -> Tensor | None:
    """Return the places of the rows to fit to, in order; None where they are all labelled alike."""
    drawn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:ROWS]
    rows = drawn.sort().values
    classes = as_classes(labels[rows])
    return None if int(classes.max()) == int(classes.min()) else rows


def share(rows: Tensor, labels: Tensor) -> str:
    """Say which part of all rows it was fitted to; nothing of all of them."""
    if len(rows) == len(labels):
        return ""
    return f", {len(rows):,} of {len(labels):,} training rows"


def linear_model(task: Task) -> str:
    """Say what a task's linear model is."""
    if task == "regression":
        return "ridge regression"
    return "logistic regression" + " of each label" * (task == "multi_label")


def begin_fit(config: Config, key: list[Any], how: str, prepare: Callable[[], Fit]) -> Floor:
    """Return a floor that is in the cache, or is computed in a process beside this one.

    Args:
        config: of a run.
        key: all that it depends on.
        how: in words.
        prepare: returns the computation, with all that it needs; not called for one that is known.
    """
    if (known := _kept(config, key)) is not None:
        return known
    coming = submit(_computed, config.mlruns / "cache", key, how, prepare())
    metric = main_metric(config.task)
    if coming is None:
        return Floor(how, why="there is no process to compute it in", metric=metric)
    return Floor(how, metric=metric, _coming=coming)


def _kept(config: Config, key: list[Any]) -> Floor | None:
    entry = found(config.mlruns / "cache", _NAME, key)
    metric = main_metric(config.task)
    return entry and Floor(entry.facts["how"], metric=metric, _known=float(entry.tensors[_VALUE]))


def _computed(cache: Path, key: list[Any], how: str, fit: Fit) -> float:
    """Compute a floor and keep it; called in the process beside."""

    def build() -> Entry:
        return Entry({_VALUE: torch.tensor(fit(), dtype=torch.float64)}, {"how": how})

    return float(stored(cache, _NAME, key, build).tensors[_VALUE])
