"""Several trained models of one arm: what their mean is worth, and where their answers differ."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Floats, Integers
from adapterlab.evidence.metrics import expected_calibration_error


@dataclass(frozen=True)
class Scores:
    """How good probabilities are.

    Attributes:
        accuracy: share of examples whose most probable class, the first of equal ones, is right.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error, see `expected_calibration_error`.
    """

    accuracy: float
    nll: float
    ece: float


@dataclass(frozen=True)
class Churn:
    """How much answers depend on the seed: Milani Fard et al., 2016, "Launch and iterate".

    Attributes:
        pairwise: share of examples on which two models disagree, the mean over all pairs. More
            seeds make it more certain, and not larger.
        any: share of examples on which not all models agree, which grows with their number.
        one_right: of `pairwise`, the part in which one of the two is right; in the rest both
            are wrong, in different ways.
    """

    pairwise: float
    any: float
    one_right: float


@dataclass(frozen=True)
class Flip:
    """An example whose answer changes with the seed.

    Attributes:
        row: its place in the answers.
        label: the true class.
        answers: how many models said each class, those said most first.
        disagreement: share of the pairs of models that disagree on it.
    """

    row: int
    label: int
    answers: tuple[tuple[int, int], ...]
    disagreement: float


def log_probabilities(logits: Floats) -> npt.NDArray[np.float64]:
    """Return the logarithms of the softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    log_p: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p


class Pool:
    """The mean of models' probabilities: Lakshminarayanan et al., 2017 (arXiv:1612.01474).

    Models are added one after the other, so that only two are in memory at once.
    """

    def __init__(self) -> None:
        self._total: npt.NDArray[np.float64] | None = None
        self._count = 0

    def add(self, log_p: Floats) -> None:
        """Add a model by its log-probabilities ``[N, C]``.

        Raises:
            ValueError: the shape is another than that of models before it.
        """
        if self._total is None:
            self._total = np.array(log_p, dtype=np.float64)
        elif log_p.shape != self._total.shape:
            shapes = f"{self._total.shape} and {log_p.shape}"
            raise ValueError(f"models of {shapes}; expected the same [N, C]")
        else:
            np.logaddexp(self._total, log_p, out=self._total)
        self._count += 1

    def mean(self) -> npt.NDArray[np.float64]:
        """Return the logarithms of the mean probabilities, ``[N, C]``.

        Raises:
            ValueError: no model was added.
        """
        if self._total is None:
            raise ValueError("no model to average")
        mean: npt.NDArray[np.float64] = self._total - np.log(self._count)
        return mean


def scores(log_p: Floats, labels: Integers) -> Scores:
    """Score log-probabilities ``[N, C]`` by the true classes ``[N]``.

    Raises:
        ValueError: shapes that do not fit together, or a label that is no column.
    """
    if log_p.ndim != 2 or len(log_p) == 0 or labels.shape != log_p.shape[:1]:
        raise ValueError(
            f"probabilities of shape {log_p.shape} for labels of shape {labels.shape}; "
            "expected [N, C] for [N]"
        )
    if labels.min() < 0 or labels.max() >= log_p.shape[1]:
        raise ValueError(
            f"labels from {labels.min()} to {labels.max()} of {log_p.shape[1]} classes"
        )
    right = log_p.argmax(axis=1) == labels
    # Rounding of a mean of probabilities near 1 must not lead out of the last bin.
    confidence = np.minimum(np.exp(log_p.max(axis=1)), 1.0)
    return Scores(
        accuracy=float(right.mean()),
        nll=float(-np.take_along_axis(log_p, labels[:, None].astype(np.int64), axis=1).mean()),
        ece=expected_calibration_error(confidence, right),
    )


def churn(predicted: Integers, labels: Integers) -> Churn | None:
    """Measure how answers change with the seed.

    Args:
        predicted: ``[S, N]``, the classes that S models say of N examples, from 0.
        labels: ``[N]``, the true classes.

    Returns:
        The shares; None with one model.

    Raises:
        ValueError: shapes that do not fit together, or no examples.
    """
    _check(predicted, labels)
    s = len(predicted)
    if s < 2:
        return None
    differ = disagreement(predicted)
    right = (predicted == labels).sum(axis=0)
    one_is_right = 2 * right * (s - right) / (s * (s - 1))
    return Churn(
        pairwise=float(differ.mean()),
        any=float((predicted != predicted[0]).any(axis=0).mean()),
        one_right=float(one_is_right.mean()),
    )


def disagreement(predicted: Integers) -> npt.NDArray[np.float64]:
    """Return for each example the share of pairs of models that disagree on it, ``[N]``."""
    s = len(predicted)
    agree = np.zeros(predicted.shape[1])
    for value in np.unique(predicted):
        said = (predicted == value).sum(axis=0)
        agree += said * (said - 1)
    shares: npt.NDArray[np.float64] = 1 - agree / (s * (s - 1))
    return shares


def most_flipped(predicted: Integers, labels: Integers, top: int) -> tuple[Flip, ...]:
    """Find the examples on which most pairs of models disagree.

    Args:
        predicted: as in `churn`, S at least 2.
        labels: likewise.
        top: the most examples to return.

    Returns:
        Most disagreement first, then by row; fewer than ``top`` where models agree on the rest.

    Raises:
        ValueError: as `churn`, fewer than two models, or ``top`` below 1.
    """
    _check(predicted, labels)
    if len(predicted) < 2 or top < 1:
        raise ValueError(f"{len(predicted)} models, top {top}; expected from 2, and from 1")
    differ = disagreement(predicted)
    rows = np.argsort(-differ, kind="stable")[:top]
    return tuple(
        Flip(int(row), int(labels[row]), _said(predicted[:, row]), float(differ[row]))
        for row in rows
        if differ[row] > 0
    )


def _said(answers: Integers) -> tuple[tuple[int, int], ...]:
    classes, times = np.unique(answers, return_counts=True)
    order = np.argsort(-times, kind="stable")
    return tuple((int(classes[i]), int(times[i])) for i in order)


def _check(predicted: Integers, labels: Integers) -> None:
    if predicted.ndim != 2 or predicted.size == 0 or predicted.shape[1:] != labels.shape:
        raise ValueError(
            f"answers of shape {predicted.shape} for labels of shape {labels.shape}; "
            "expected [S, N] for [N]"
        )
