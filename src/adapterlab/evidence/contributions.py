"""Scores as means over examples, so that any metric can be tested as accuracy is.

A test over examples needs one value an example, whose mean is the score and whose spread gives the
score's standard error. Accuracy, negative log-likelihood and Brier score are such means already.
Scores that are no means are linearised: an example's value is the score, and how much the score
would miss without the example (the jackknife's pseudo-values, centred at the score: Efron, 1982,
"The jackknife, the bootstrap and other resampling plans", chapter 3).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Booleans, Floats, Integers
from adapterlab.evidence.class_scores import (
    centred,
    class_contributions,
    class_of,
    names_of_classes,
    of_a_class,
    title_of,
)
from adapterlab.evidence.metrics import (
    check_logits,
    confusion_matrix,
    log_softmax,
    matthews_correlation,
)
from adapterlab.evidence.ranking import rankings

SOURCE = "source_accuracy"
"""The one metric whose logits and labels are not the target's but the source task's."""

ECE_BINS = 15

Values = npt.NDArray[np.float64]

Weighs = Literal["share", "alike", "answers", "classes", "ranks"]
"""What a score hangs on, and how much an example may make up of it.

`share`: it counts right answers, with the exact interval of such. `alike`: it is another mean over
all examples. `answers`: right and wrong ones of all classes together, as a correlation does.
`classes`: it gives a rare class as much weight as any other. `ranks`: likewise, and it counts no
answers.
"""


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a model said to N examples of C classes.

    Attributes:
        logits: ``[N, C]``.
        log_p: ``[N, C]``, logarithms of the probabilities.
        labels: ``[N]``, the true classes.
        said: ``[N]``, the predicted ones.
        confusion: ``[C, C]``, true by predicted.
        classes: C names.
    """

    logits: Floats
    log_p: Values
    labels: Integers
    said: Integers
    confusion: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def correct(self) -> Booleans:
        right: Booleans = self.said == self.labels
        return right


@dataclass(frozen=True)
class Metric:
    """A score of a classifier.

    Attributes:
        title: what it is called in a sentence.
        unit: ``points`` for a share, printed in hundredths; ``nats``; or nothing, for a number
            without a unit.
        weighs: see `Weighs`; the notes on few answers and the least width of intervals follow it.
        higher_is_better: whether more of it is.
        least: that it may be.
        most: likewise.
    """

    title: str
    unit: str
    weighs: Weighs
    higher_is_better: bool
    least: float = 0.0
    most: float = 1.0

    @property
    def bounded(self) -> bool:
        """Whether it has a least and a most."""
        return isfinite(self.least) and isfinite(self.most)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric("accuracy", "points", "share", higher_is_better=True),
        "macro_f1": Metric("macro-F1", "points", "classes", higher_is_better=True),
        "mcc": Metric("Matthews correlation", "", "answers", higher_is_better=True, least=-1.0),
        "balanced_accuracy": Metric(
            "balanced accuracy", "points", "classes", higher_is_better=True
        ),
        "auroc": Metric("area under the ROC curve", "points", "ranks", higher_is_better=True),
        "nll": Metric("negative log-likelihood", "nats", "alike", higher_is_better=False, most=inf),
        "ece": Metric("expected calibration error", "points", "alike", higher_is_better=False),
        "brier": Metric("Brier score", "", "alike", higher_is_better=False, most=2.0),
        SOURCE: Metric("accuracy kept on the source", "points", "share", higher_is_better=True),
    }
)
"""By name, as in `classification_metrics` but for the last; `known` has those of a class too."""


def known(name: str, classes: Sequence[str]) -> Metric:
    """Return the metric of a name: one of `METRICS`, ``recall/<class>`` or ``f1/<class>``.

    Args:
        name: of a metric.
        classes: the class names.

    Raises:
        ValueError: there is none; the text has the value and what is allowed.
    """
    if name in METRICS:
        return METRICS[name]
    allowed = [*METRICS, *names_of_classes(classes)]
    if name not in allowed:
        raise ValueError(f"{name} is no metric; allowed: {', '.join(allowed)}")
    return Metric(title_of(name, classes), "points", "classes", higher_is_better=True)


def higher_is_better(name: str) -> bool:
    """Say whether more of a metric is better.

    Raises:
        ValueError: there is no such metric.
    """
    return True if of_a_class(name) else known(name, ()).higher_is_better


def unit(name: str) -> str:
    """Return the unit of a metric, see `Metric`.

    Raises:
        ValueError: there is no such metric.
    """
    return "points" if of_a_class(name) else known(name, ()).unit


def contributions(name: str, logits: Floats, labels: Integers, classes: Sequence[str]) -> Values:
    """Return a score's contribution of each example.

    Their mean is the score of `classification_metrics`, to rounding (``source_accuracy`` is the
    accuracy there, of logits and labels of the source task). Their variance (divisor
    N - 1) over N is the score's variance over new test examples: exactly so for ``accuracy``,
    ``nll`` and ``brier``; by the delete-one jackknife for ``recall/<class>``, ``f1/<class>``,
    ``balanced_accuracy``, ``macro_f1`` and ``mcc``, in closed form from the confusion matrix, and
    for ``auroc`` from the placements of DeLong et al. (1988, "Comparing the areas under two or more
    correlated receiver operating characteristic curves", Biometrics 44). That
    is a little too large rather than too small while a class has few examples (Efron & Stein,
    1981), but an interval also takes the score for normal, and the variance of a share near 0 or
    1 is seen badly by few examples: see `least_answers`.

    ``ece`` is Σ_b |Σ_{e in b} (confidence - correct)| / N, so an example's contribution is its
    confidence - correct with its bin's sign, or the reverse. It takes the bins' signs for known.
    Where a bin's gap is within its luck, the sign follows the luck: the score itself is biased
    upward (a calibrated model has an ECE above 0), by more the fewer the examples, and the
    contributions' spread does not know that. Two models of about equal confidence share most of
    the bias; an interval of one model's ECE does not allow for it.

    Args:
        name: of one of `METRICS`, ``recall/<class>`` or ``f1/<class>``.
        logits: ``[N, C]``, N at least 1, all finite.
        labels: ``[N]``, integers from 0 to C - 1.
        classes: the C class names, in the order of the columns.

    Returns:
        float64 ``[N]``.

    Raises:
        ValueError: no such metric; what `classification_metrics` refuses; or a class whose score
            is asked for has fewer than 2 examples, which show no spread (``balanced_accuracy``
            and ``auroc`` ask for that of every class that has any, and ``auroc`` for two classes).
    """
    known(name, classes)
    check_logits(logits, labels, classes)
    said = logits.argmax(axis=1)
    answers = _Answers(
        logits=logits,
        log_p=log_softmax(logits.astype(np.float64)),
        labels=labels,
        said=said,
        confusion=confusion_matrix(labels, said, len(classes)),
        classes=tuple(classes),
    )
    if of_a_class(name):
        return class_contributions(name, labels, said, answers.confusion, classes)
    return _CONTRIBUTIONS[name](answers)


def least_answers(
    name: str, correct: Booleans, labels: Integers, classes: Sequence[str]
) -> float | None:
    """Return how few answers a score hangs on: the fewer of right and wrong ones.

    A recall or F1 hangs on its class's answers; ``macro_f1`` and ``balanced_accuracy`` give a rare
    class as much weight as any other, so they hang on the class that has least. Simulated, 95%
    intervals by the contributions' spread hold 94% to 95% of the time from about 20 such answers
    on, 89% to 93% with 5, 64% to 78% with 1: a spread cannot be seen in what happens once. The
    interval of one recall need not suffer that: `share_interval` of its class's answers allows for
    it.

    ``auroc`` counts no answers; it hangs on the examples of the class that has least.

    Args:
        name: of the metric.
        correct: ``[S, N]``, whether each of S models is right.
        labels: ``[N]``, the true classes.
        classes: the C class names.

    Returns:
        The mean over models; None for metrics that are means over all examples.

    Raises:
        ValueError: there is no such metric.
    """
    weighs = known(name, classes).weighs
    if weighs == "alike":
        return None
    if weighs == "ranks":
        return float(np.unique(labels, return_counts=True)[1].min())
    if of_a_class(name):
        groups = [labels == class_of(name, classes)]
    elif weighs == "classes":
        groups = [labels == label for label in np.unique(labels)]
    else:
        groups = [np.ones(len(labels), dtype=np.bool_)]
    right = [correct[:, group].sum(axis=1).mean() for group in groups]
    return float(min(min(n, g.sum() - n) for n, g in zip(right, groups, strict=True)))


def _accuracy(answers: _Answers) -> Values:
    return answers.correct.astype(np.float64)


def _nll(answers: _Answers) -> Values:
    of_label: Values = -answers.log_p[np.arange(len(answers.labels)), answers.labels]
    return of_label


def _brier(answers: _Answers) -> Values:
    one_hot = answers.labels[:, None] == np.arange(len(answers.classes))
    errors: Values = np.square(np.exp(answers.log_p) - one_hot).sum(axis=1)
    return errors


def _ece(answers: _Answers) -> Values:
    confidence = np.exp(answers.log_p).max(axis=1)
    gaps = confidence - answers.correct
    edges = np.linspace(0, 1, ECE_BINS + 1)[1:-1]
    bins = np.digitize(confidence, edges, right=True)
    signs = np.sign(np.bincount(bins, weights=gaps, minlength=ECE_BINS))
    signed: Values = signs[bins] * gaps
    return signed


def _balanced_accuracy(answers: _Answers) -> Values:
    right, examples = answers.confusion.diagonal(), answers.confusion.sum(axis=1)
    _require_two_of_each("balanced_accuracy", answers)
    recalls = right / np.maximum(examples, 1)
    own = answers.labels
    without = (right[own] - answers.correct) / (examples[own] - 1)
    present = int((examples > 0).sum())
    score = float(recalls[examples > 0].mean())
    return centred(score, score + (without - recalls[own]) / present)


def _auroc(answers: _Answers) -> Values:
    found = rankings(answers.logits, answers.labels)
    if not found:
        raise ValueError("auroc of examples of one class is not defined; it needs two classes")
    _require_two_of_each("auroc", answers)
    without = np.mean([one.without_each() for one in found], axis=0)
    return centred(float(np.mean([one.area for one in found])), without)


def _require_two_of_each(name: str, answers: _Answers) -> None:
    for label in np.flatnonzero(answers.confusion.sum(axis=1) == 1):
        raise ValueError(
            f"{name} has no standard error: {answers.classes[label]} has 1 example; "
            "a class needs 2 or more"
        )


def _macro_f1(answers: _Answers) -> Values:
    right = answers.confusion.diagonal()
    both = answers.confusion.sum(axis=1) + answers.confusion.sum(axis=0)
    f1 = 2 * right / np.maximum(both, 1)
    correct, own, said = answers.correct, answers.labels, answers.said
    # Without a right answer its class loses it from the true and from the predicted ones; without
    # a wrong one, the true class loses an example, and the predicted class one that is called so.
    own_without = 2 * (right[own] - correct) / np.maximum(both[own] - 1 - correct, 1)
    said_without = np.where(correct, f1[said], 2 * right[said] / np.maximum(both[said] - 1, 1))
    change = own_without - f1[own] + said_without - f1[said]
    score = float(f1.mean())
    return centred(score, score + change / len(f1))


def _mcc(answers: _Answers) -> Values:
    counts = answers.confusion.astype(np.float64)
    true, predicted, right = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal().sum()
    own, said, correct = answers.labels, answers.said, answers.correct
    n = len(own) - 1
    # The sums of products and squares of the class counts, after one is taken off two of them.
    both = true @ predicted - predicted[own] - true[said] + correct
    true_squares = true @ true - 2 * true[own] + 1
    said_squares = predicted @ predicted - 2 * predicted[said] + 1
    spread = (float(n) ** 2 - said_squares) * (float(n) ** 2 - true_squares)
    defined = spread > 0
    correlation = ((right - correct) * n - both) / np.sqrt(np.where(defined, spread, 1))
    return centred(matthews_correlation(answers.confusion), np.where(defined, correlation, 0))


_CONTRIBUTIONS: Mapping[str, Callable[[_Answers], Values]] = {
    "accuracy": _accuracy,
    SOURCE: _accuracy,
    "macro_f1": _macro_f1,
    "mcc": _mcc,
    "balanced_accuracy": _balanced_accuracy,
    "auroc": _auroc,
    "nll": _nll,
    "ece": _ece,
    "brier": _brier,
}
