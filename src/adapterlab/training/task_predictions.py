"""What a model says of a split where an example has several labels, or a number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from adapterlab.config.tasks import Task
from adapterlab.data.batches import AnyBatches
from adapterlab.evidence.metrics import metric_names
from adapterlab.evidence.multi_label import answered, choose_thresholds, multi_label_metrics
from adapterlab.evidence.regression import regression_metrics
from adapterlab.training.predictions import Predictions

THRESHOLD = "threshold/"
"""What names of metrics begin with that are thresholds; the label's name follows."""


@dataclass(frozen=True)
class LabelPredictions(Predictions):
    """Logits [N, C] and labels, bool [N, C], of a split whose examples have several labels.

    Attributes:
        thresholds: probabilities above which labels are answered, ``[C]``; none: a half each.
    """

    thresholds: tuple[float, ...] = ()

    @property
    def task(self) -> Task:
        """What the examples are labelled for."""
        return "multi_label"

    def with_thresholds(self, thresholds: Sequence[float]) -> Self:
        """Return the same logits, answered above other thresholds."""
        return replace(self, thresholds=tuple(thresholds))

    def best_thresholds(self, *, macro: bool) -> tuple[float, ...]:
        """Return the thresholds that are best on these very examples; none of broken numbers.

        Args:
            macro: for macro-F1, rather than micro-F1.
        """
        if not np.isfinite(self.logits).all():
            return ()
        return tuple(choose_thresholds(self.logits, self.labels, macro=macro).tolist())

    def limits(self) -> npt.NDArray[np.float64]:
        """Return the thresholds, ``[C]``."""
        return np.array(self.thresholds or (0.5,) * len(self.classes))

    def metrics(self) -> dict[str, float]:
        """Return what `multi_label_metrics` does, and the thresholds by name.

        Raises:
            TrainingDivergedError: a logit is no number.
        """
        self.require_finite()
        metrics = multi_label_metrics(self.logits, self.labels, self.classes, self.limits())
        return metrics | {
            f"{THRESHOLD}{name}": limit
            for name, limit in zip(metric_names(self.classes), self.limits().tolist(), strict=True)
        }

    def answers(self) -> dict[str, Any]:
        """Return the columns ``label`` and ``prediction``: lists of the indices of labels."""
        said = answered(self.logits, self.limits())
        return {"label": _indices(self.labels), "prediction": _indices(said)}

    def facts(self) -> dict[str, str]:
        """Return the task and the thresholds."""
        return {"task": self.task, "thresholds": "\n".join(map(repr, self.limits().tolist()))}


@dataclass(frozen=True)
class NumberPredictions(Predictions):
    """Numbers that a model says, [N, 1] in the unit of the data set, and the true ones [N]."""

    @property
    def task(self) -> Task:
        """What the examples are labelled for."""
        return "regression"

    @property
    def said(self) -> npt.NDArray[np.float64]:
        """The numbers that the model says, ``[N]``."""
        return np.asarray(self.logits[:, 0], dtype=np.float64)

    def metrics(self) -> dict[str, float]:
        """Return what `regression_metrics` does.

        Raises:
            TrainingDivergedError: an answer is no number.
        """
        self.require_finite()
        return regression_metrics(self.said, self.labels)

    def answers(self) -> dict[str, Any]:
        """Return the columns ``label`` and ``prediction``, numbers."""
        return {"label": self.labels, "prediction": self.said}

    def facts(self) -> dict[str, str]:
        """Return the task."""
        return {"task": self.task}


def settled(test: Predictions, select_on: str, validate: Callable[[], Predictions]) -> Predictions:
    """Return answers to the test split, above thresholds that validation chose, if it takes any.

    Args:
        test: what a model says of the test split.
        select_on: of the run; thresholds are those for macro-F1 if that is it.
        validate: computes what it says of the validation split.
    """
    return all_settled([test], [select_on], lambda: [validate()])[0]


def all_settled(
    tests: Sequence[Predictions],
    select_on: Sequence[str],
    validate: Callable[[], Sequence[Predictions]],
) -> list[Predictions]:
    """Do as `settled` for the lanes of a pack."""
    if not any(isinstance(test, LabelPredictions) for test in tests):
        return list(tests)
    return [
        test.with_thresholds(validation.best_thresholds(macro=metric == "macro_f1"))
        if isinstance(test, LabelPredictions) and isinstance(validation, LabelPredictions)
        else test
        for test, metric, validation in zip(tests, select_on, validate(), strict=True)
    ]


def above_logged(
    answers: Predictions, split: str, logged: Mapping[str, float], classes: Sequence[str]
) -> Predictions:
    """Return answers above the thresholds that a run logged, if it takes any.

    Args:
        answers: what a model says of a split.
        split: that the thresholds were logged with.
        logged: metrics of the run.
        classes: names of the labels.
    """
    limits = logged_limits(logged, classes, split)
    if not isinstance(answers, LabelPredictions) or limits is None:
        return answers
    return answers.with_thresholds(limits)


def logged_limits(
    logged: Mapping[str, float], classes: Sequence[str], split: str = "test"
) -> tuple[float, ...] | None:
    """Return the thresholds of labels that a run logged; None if it has none.

    Args:
        logged: metrics of the run.
        classes: names of the labels.
        split: that they were logged with.
    """
    names = [f"{split}/{THRESHOLD}{name}" for name in metric_names(classes)]
    return tuple(logged[name] for name in names) if set(names) <= logged.keys() else None


def predictions_of(
    data: AnyBatches, logits: npt.NDArray[Any], labels: npt.NDArray[Any], classes: tuple[str, ...]
) -> Predictions:
    """Return a model's outputs as what they say of examples that have several labels or a number.

    Args:
        data: the batches that they are from.
        logits: the outputs, ``[N, C]``.
        labels: of the examples.
        classes: the names of the outputs.
    """
    if data.task == "multi_label":
        return LabelPredictions(logits, labels, classes)
    told = logits.astype(np.float64) * data.scale.deviation + data.scale.mean
    return NumberPredictions(told, labels, classes)


def _indices(chosen: npt.NDArray[np.bool_]) -> pa.ListArray:
    ends = np.concatenate([[0], chosen.sum(1).cumsum()]).astype(np.int32)
    return pa.ListArray.from_arrays(ends, np.nonzero(chosen)[1])
