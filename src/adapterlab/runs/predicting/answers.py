"""What is written beside a row, and what is said of all rows, for each task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterlab.base.errors import ConfigError
from adapterlab.config.tasks import Task
from adapterlab.runs.predicting.ensemble import Ensemble
from adapterlab.runs.predicting.members import Examples

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """What is asked about each row.

    Attributes:
        top_k: how many classes are named, the most probable first; None for one.
        probabilities: whether that of every class is wanted.
    """

    top_k: int | None
    probabilities: bool


class Answers(ABC):
    """Answers of an ensemble as new columns of a table.

    Args:
        ensemble: whom to ask.
        asked: what.

    Raises:
        ConfigError: that is not to be had.
    """

    def __init__(self, ensemble: Ensemble, asked: Asked) -> None:
        self.ensemble, self.asked = ensemble, asked
        self.rows = 0

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of the new columns."""

    def values(self, examples: Examples) -> list[list[Any]]:
        """Return the values of the columns for some rows."""
        said = self.ensemble.outputs(examples)
        self.rows += said.shape[1]
        return self._values(said)

    @abstractmethod
    def _values(self, said: Values) -> list[list[Any]]:
        """Return the same of what the members say, ``[M, N, C]``."""

    @abstractmethod
    def summary(self) -> tuple[str, tuple[str, ...]]:
        """Return what all rows have in common, and what that is called."""

    @property
    def _several(self) -> bool:
        return len(self.ensemble.members) > 1


class OneLabel(Answers):
    """The most probable class, by the mean of the members' probabilities."""

    def __init__(self, ensemble: Ensemble, asked: Asked) -> None:
        super().__init__(ensemble, asked)
        if asked.top_k is not None and asked.top_k > len(ensemble.classes):
            raise ConfigError(
                f"top_k={asked.top_k} is more than the {len(ensemble.classes)} classes of "
                f"{ensemble.members[0].name}"
            )
        self.top_k = asked.top_k or 1
        self._counts = np.zeros(len(ensemble.classes), dtype=np.int64)

    @property
    def columns(self) -> tuple[str, ...]:
        """The class and its probability, the next ones, how many agree, all probabilities."""
        names = ["prediction", "probability"]
        for place in range(2, self.top_k + 1):
            names += [f"prediction_{place}", f"probability_{place}"]
        if self._several:
            names.append("agreement")
        if self.asked.probabilities:
            names += _each(self.ensemble.classes)
        return tuple(names)

    def _values(self, said: Values) -> list[list[Any]]:
        mean, classes = said.mean(axis=0), self.ensemble.classes
        order = np.argsort(-mean, axis=1, kind="stable")[:, : self.top_k]
        found: list[list[Any]] = []
        for labels in order.T:
            found.append([classes[label] for label in labels])
            found.append(mean[np.arange(len(labels)), labels].tolist())
        best = mean.argmax(axis=1)
        self._counts += np.bincount(best, minlength=len(classes))
        if self._several:
            found.append((said.argmax(axis=2) == best).mean(axis=0).tolist())
        if self.asked.probabilities:
            found += mean.T.tolist()
        return found

    def summary(self) -> tuple[str, tuple[str, ...]]:
        """Return the share of rows of each class, the most frequent first."""
        return "classes", _shares(self.ensemble.classes, self._counts, self.rows)


class SeveralLabels(Answers):
    """Labels whose probability is above a threshold, both means over the members.

    The thresholds of each run are those that it chose on validation.
    """

    def __init__(self, ensemble: Ensemble, asked: Asked) -> None:
        super().__init__(ensemble, asked)
        _refuse_top_k(asked, "multi_label", "all labels have their probability")
        self._counts = np.zeros(len(ensemble.classes), dtype=np.int64)
        self._bare = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The labels, how many members say the same, and the probability of each label."""
        agreement = ["agreement"] if self._several else []
        return ("prediction", *agreement, *_each(self.ensemble.classes))

    def _values(self, said: Values) -> list[list[Any]]:
        mean, limits = said.mean(axis=0), self.ensemble.limits
        labels = mean > limits.mean(axis=0)
        self._counts += labels.sum(axis=0)
        self._bare += int((~labels.any(axis=1)).sum())
        names = self.ensemble.classes
        found: list[list[Any]] = [[[names[i] for i in np.flatnonzero(row)] for row in labels]]
        if self._several:
            own = said > limits[:, None, :]
            found.append((own == labels).all(axis=2).mean(axis=0).tolist())
        return found + list(mean.T.tolist())

    def summary(self) -> tuple[str, tuple[str, ...]]:
        """Return the share of rows with each label, and without any."""
        shares = _shares(self.ensemble.classes, self._counts, self.rows)
        bare = (f"none {self._bare / self.rows:.1%}",) if self._bare else ()
        return "labels", (*bare, *shares)


class Number(Answers):
    """A number in the unit of the training data, the mean of what the members say."""

    def __init__(self, ensemble: Ensemble, asked: Asked) -> None:
        super().__init__(ensemble, asked)
        _refuse_top_k(asked, "regression", "its answer is a number")
        if asked.probabilities:
            raise ConfigError("probabilities=true is of classes, and task=regression has none")
        self._sum, self._least, self._most = 0.0, np.inf, -np.inf

    @property
    def columns(self) -> tuple[str, ...]:
        """The number, and the standard deviation of what the members say."""
        return ("prediction", "deviation") if self._several else ("prediction",)

    def _values(self, said: Values) -> list[list[Any]]:
        numbers = said[..., 0]
        mean = numbers.mean(axis=0)
        self._sum += float(mean.sum())
        self._least = min(self._least, float(mean.min()))
        self._most = max(self._most, float(mean.max()))
        found = [mean.tolist()]
        if self._several:
            found.append(numbers.std(axis=0, ddof=1).tolist())
        return found

    def summary(self) -> tuple[str, tuple[str, ...]]:
        """Return the mean and the range of the numbers."""
        mean = self._sum / self.rows
        return "numbers", (f"{mean:.4g} on average", f"{self._least:.4g} to {self._most:.4g}")


_OF: Mapping[Task, type[Answers]] = {
    "single_label": OneLabel,
    "multi_label": SeveralLabels,
    "regression": Number,
}


def answers_of(ensemble: Ensemble, asked: Asked) -> Answers:
    """Return how an ensemble answers, by what its members have learnt.

    Raises:
        ConfigError: something is asked that runs of the task do not answer.
    """
    return _OF[ensemble.task](ensemble, asked)


def _refuse_top_k(asked: Asked, task: Task, otherwise: str) -> None:
    if asked.top_k is not None:
        raise ConfigError(
            f"top_k={asked.top_k} is of classes that exclude each other, and the run has "
            f"task={task}: {otherwise}"
        )


def _each(classes: Sequence[str]) -> list[str]:
    return [f"probability/{name}" for name in classes]


def _shares(classes: Sequence[str], counts: npt.NDArray[np.int64], rows: int) -> tuple[str, ...]:
    often = np.argsort(-counts, kind="stable")
    return tuple(f"{classes[i]} {counts[i] / rows:.1%}" for i in often)
