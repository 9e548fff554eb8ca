"""Scores of one class, recall and F1: their names, and what each example contributes to them."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from adapterlab.base.amounts import counted
from adapterlab.config.tasks import F1
from adapterlab.evidence.arrays import Integers
from adapterlab.evidence.metrics import metric_names

RECALL = "recall/"
"""What names of a class's recall begin with; what follows is as in `classification_metrics`."""

Values = npt.NDArray[np.float64]

_TITLES = MappingProxyType({RECALL: "recall", F1: "F1"})


def of_a_class(name: str) -> bool:
    """Say whether a metric is one class's: ``recall/<class>`` or ``f1/<class>``."""
    return name.startswith(tuple(_TITLES))


def names_of_classes(classes: Sequence[str]) -> list[str]:
    """Return the names of all metrics that are one class's."""
    return [f"{kind}{one}" for kind in _TITLES for one in metric_names(classes)]


def title_of(name: str, classes: Sequence[str] | None = None) -> str:
    """Return what one class's metric is called in a sentence: ``recall of cat``.

    Args:
        name: of the metric.
        classes: the class names; None where only their names in metrics are known.
    """
    kind = _kind(name)
    label = name.removeprefix(kind) if classes is None else classes[class_of(name, classes)]
    return f"{_TITLES[kind]} of {label}"


def class_of(name: str, classes: Sequence[str]) -> int:
    """Return the index of the class that a metric is of.

    Raises:
        ValueError: there is no such class.
    """
    return metric_names(classes).index(name.removeprefix(_kind(name)))


def class_contributions(
    name: str, labels: Integers, said: Integers, confusion: Integers, classes: Sequence[str]
) -> Values:
    """Return what each example contributes to a class's score, see `contributions`.

    Args:
        name: ``recall/<class>`` or ``f1/<class>``.
        labels: the true classes, ``[N]``.
        said: the predicted ones, ``[N]``.
        confusion: counts ``[C, C]``, true class by predicted class.
        classes: C names.

    Raises:
        ValueError: the class has fewer than 2 examples, which show no spread.
    """
    label = class_of(name, classes)
    if (examples := int(confusion[label].sum())) < 2:
        raise ValueError(
            f"{name} of {counted(examples, 'example')} has no standard error; "
            "a class needs 2 or more"
        )
    return _SCORES[_kind(name)](label, labels == label, said == label, confusion)


def _recall(label: int, own: Integers, told: Integers, confusion: Integers) -> Values:
    right, examples = int(confusion[label, label]), int(confusion[label].sum())
    score = right / examples
    return centred(score, np.where(own, (right - (own & told)) / (examples - 1), score))


def _f1(label: int, own: Integers, told: Integers, confusion: Integers) -> Values:
    right = int(confusion[label, label])
    both = int(confusion[label].sum() + confusion[:, label].sum())
    # Without an example its class loses one that is true, one that is called so, or both. Another
    # example than those changes nothing.
    left = both - own.astype(np.int64) - told
    return centred(2 * right / both, 2 * (right - (own & told)) / np.maximum(left, 1))


_SCORES: Mapping[str, Callable[..., Values]] = {RECALL: _recall, F1: _f1}


def centred(score: float, without: Values) -> Values:
    """Return contributions from the score and what it is without each example."""
    misses = (len(without) - 1) * (without.mean() - without)
    values: Values = score + misses
    return values


def _kind(name: str) -> str:
    return next(kind for kind in _TITLES if name.startswith(kind))
