"""What a classifier gets wrong: the hardest classes, the pairs it confuses, its surest mistakes."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Floats, Integers


@dataclass(frozen=True)
class ClassMistakes:
    """How many examples of one true class are wrong."""

    label: int
    examples: int
    wrong: int

    @property
    def share(self) -> float | None:
        """Share of the class's examples that is wrong; None for a class without examples."""
        return self.wrong / self.examples if self.examples else None


@dataclass(frozen=True)
class ConfusedPair:
    """How often a true class is taken for another one.

    Attributes:
        label: the true class.
        prediction: the predicted class, another one.
        count: the number of examples, at least 1.
        share: ``count`` as a share of all examples of the true class.
    """

    label: int
    prediction: int
    count: int
    share: float


@dataclass(frozen=True)
class WrongAnswer:
    """One example that is wrong.

    Attributes:
        row: its index in the logits.
        label: the true class.
        prediction: the predicted class, another one.
        confidence: the probability of the predicted class.
        probability_of_label: the probability of the true class.
    """

    row: int
    label: int
    prediction: int
    confidence: float
    probability_of_label: float


def misclassification_shares(confusion: Integers) -> tuple[ClassMistakes, ...]:
    """Count the wrong examples of each class.

    Args:
        confusion: counts ``[C, C]``, true class by predicted class.

    Returns:
        One entry a class, in the order of the classes.

    Raises:
        ValueError: if ``confusion`` is not square, not of integers, or holds a negative count.
    """
    _check_confusion(confusion)
    examples = confusion.sum(axis=1)
    wrong = examples - confusion.diagonal()
    return tuple(
        ClassMistakes(label, int(n), int(k))
        for label, (n, k) in enumerate(zip(examples, wrong, strict=True))
    )


def hardest_first(classes: Iterable[ClassMistakes]) -> tuple[ClassMistakes, ...]:
    """Sort by share wrong, then by count wrong, then by class; those without examples come last."""

    def rank(one: ClassMistakes) -> tuple[float, int, int]:
        return (1 if one.share is None else -one.share), -one.wrong, one.label

    return tuple(sorted(classes, key=rank))


def confused_pairs(confusion: Integers, top: int) -> tuple[ConfusedPair, ...]:
    """Find the ordered pairs of a true and another predicted class that hold most mistakes.

    Args:
        confusion: counts ``[C, C]``, true class by predicted class.
        top: the most pairs to return.

    Returns:
        Highest count first, then by true and by predicted class; fewer than ``top`` where fewer
        pairs were confused at all.

    Raises:
        ValueError: as `misclassification_shares`, or if ``top`` is below 1.
    """
    _check_confusion(confusion)
    _check_top(top)
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    labels, predictions = mistakes.nonzero()
    # A stable sort keeps the order of `nonzero`, by row and then by column, among equal counts.
    order = np.argsort(-mistakes[labels, predictions].astype(np.int64), kind="stable")[:top]
    examples = confusion.sum(axis=1)
    return tuple(
        ConfusedPair(
            label=int(label),
            prediction=int(prediction),
            count=int(confusion[label, prediction]),
            share=float(confusion[label, prediction] / examples[label]),
        )
        for label, prediction in zip(labels[order], predictions[order], strict=True)
    )


def confidently_wrong(logits: Floats, labels: Integers, top: int) -> tuple[WrongAnswer, ...]:
    """Find the wrong examples whose predicted class got the highest probability.

    As in `classification_metrics`, the predicted class is the largest logit, the lowest index on
    ties, and probabilities are the softmax in float64.

    Args:
        logits: ``[N, C]``, all finite.
        labels: ``[N]``, integers from 0 to C - 1.
        top: the most examples to return.

    Returns:
        Highest confidence first, then by row; fewer than ``top`` where fewer are wrong.

    Raises:
        ValueError: if a logit is not finite, logits and labels do not fit together, or ``top`` is
            below 1.
    """
    _check_logits(logits, labels)
    _check_top(top)
    predictions = logits.argmax(axis=1)
    rows = np.flatnonzero(predictions != labels)
    p = _softmax(logits[rows].astype(np.float64))
    confidence = p.max(axis=1)
    order = np.argsort(-confidence, kind="stable")[:top]
    return tuple(
        WrongAnswer(
            row=int(rows[i]),
            label=int(labels[rows[i]]),
            prediction=int(predictions[rows[i]]),
            confidence=float(confidence[i]),
            probability_of_label=float(p[i, labels[rows[i]]]),
        )
        for i in order
    )


def wilson_interval(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share: Wilson, 1927, "Probable inference, the law of succession".

    (k + z²/2 ± z·√(k(n - k)/n + z²/4)) / (n + z²). Unlike the normal one it stays within 0 to 1,
    and has a width where the share is 0 or 1.

    Args:
        count: k, how many of them, 0 to ``n``.
        n: out of how many, at least 1.
        level: how often such intervals hold the true share, between 0 and 1.

    Returns:
        The lower and the upper end; the share ``count / n`` is never outside.

    Raises:
        ValueError: an argument outside its range.
    """
    if not 0 <= count <= n or n < 1:
        raise ValueError(f"{count} of {n}; expected 0 to n, and n of at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected above 0, below 1")
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (count + z**2 / 2) / (n + z**2)
    reach = z * sqrt(count * (n - count) / n + z**2 / 4) / (n + z**2)
    # Rounding would put the ends of 0 of n and n of n beside 0 and 1.
    share = count / n
    return max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    p: npt.NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return p


def _check_confusion(confusion: Integers) -> None:
    square = confusion.ndim == 2 and confusion.shape[0] == confusion.shape[1]
    if not square or not np.issubdtype(confusion.dtype, np.integer):
        raise ValueError(
            f"confusion matrix of shape {confusion.shape} and type {confusion.dtype}; "
            "expected integers [C, C]"
        )
    if (confusion < 0).any():
        raise ValueError(f"confusion matrix holds {confusion.min()}; expected counts from 0")


def _check_logits(logits: Floats, labels: Integers) -> None:
    if logits.ndim != 2 or logits.shape[1] == 0 or logits.shape[:1] != labels.shape:
        raise ValueError(
            f"logits of shape {logits.shape} for labels of shape {labels.shape}; "
            "expected [N, C] for [N]"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels of type {labels.dtype}; expected integers")
    outside = labels[(labels < 0) | (labels >= logits.shape[1])]
    if outside.size:
        raise ValueError(f"labels hold {outside[0]}; expected 0 to {logits.shape[1] - 1}")
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise ValueError(f"{broken} of {len(logits)} examples have logits that are not finite")


def _check_top(top: int) -> None:
    if top < 1:
        raise ValueError(f"top is {top}; expected at least 1")
