"""Scores of answers that are any number of labels, by scikit-learn's definitions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterlab.config.tasks import F1
from adapterlab.evidence.arrays import Booleans, Floats
from adapterlab.evidence.metrics import metric_names

Values = npt.NDArray[np.float64]


def multi_label_metrics(
    logits: Floats, labels: Booleans, classes: Sequence[str], thresholds: Floats | None = None
) -> dict[str, float]:
    """Score logits against labels; every key is a valid MLflow metric name.

    A label is answered where its probability, the logit's sigmoid, is above its threshold.

    Args:
        logits: ``[N, C]``, N at least 1, all finite.
        labels: ``[N, C]``, whether each example has each label.
        classes: the C names of the labels.
        thresholds: ``[C]``, probabilities; None for a half each.

    Returns:
        ``micro_f1``, of all answers of all labels together; ``macro_f1``, the mean over labels,
        of which one that is neither there nor answered counts as 0; ``mean_average_precision``,
        the mean of the average precision of the labels that have an example, left out where none
        has; ``exact_match``, the share of examples whose labels are all right (scikit-learn's
        accuracy); ``bce``, the mean binary cross-entropy in nats; and ``f1/<label>`` of each label
        that has an example.

    Raises:
        ValueError: shapes do not fit, or a logit is not finite.
    """
    answers = _answers(logits, labels, classes, thresholds)
    areas = average_precisions(answers.logits, answers.labels)
    present = answers.labels.sum(0) > 0
    f1 = answers.f1
    return {
        "micro_f1": _ratio(2 * answers.hits.sum(), answers.both.sum()),
        "macro_f1": float(f1.mean()),
        **({"mean_average_precision": float(areas[present].mean())} if present.any() else {}),
        "exact_match": float(answers.exact.mean()),
        "bce": float(_bce(answers).mean()),
    } | {f"{F1}{name}": float(f1[i]) for i, name in enumerate(metric_names(classes)) if present[i]}


def choose_thresholds(logits: Floats, labels: Booleans, *, macro: bool = False) -> Values:
    """Return for each label the probability above which it is answered, as is best for an F1.

    Of macro-F1 each label's own F1 counts (Yang, 2001, "A study of thresholding strategies for text
    categorization", SCut), of micro-F1 all labels' together: 2 TP / (answers + labels) is made
    large by choosing for each label what makes 2 TP - λ answers large, λ being the F1 so far, until
    it grows no more (Dinkelbach, 1967, "On nonlinear fractional programming"). A threshold lies
    half-way (in logits) between two examples; of equally good ones it is the nearest to a half. A
    label without an example, or without another, keeps a half.

    Args:
        logits: ``[N, C]``, all finite, of validation examples.
        labels: ``[N, C]``, whether each has each label.
        macro: whether macro-F1 is to be large, rather than micro-F1.

    Returns:
        ``[C]``, above 0 and below 1.
    """
    ranked = [_Ranked.of(z, y) for z, y in zip(logits.T.astype(np.float64), labels.T, strict=True)]
    if macro:
        cuts = [one.cut(one.f1) for one in ranked]
    else:
        best, found = -1.0, 0.0
        while found > best:
            best = found
            gains = [one.gains(best) for one in ranked]
            places = [int(gain.argmax()) for gain in gains]
            hits = sum(one.hits[place] for one, place in zip(ranked, places, strict=True))
            said = sum(one.said[place] for one, place in zip(ranked, places, strict=True))
            found = _ratio(2 * hits, said + labels.sum())
        cuts = [one.cut(gain) for one, gain in zip(ranked, gains, strict=True)]
    sure = labels.any(0) & ~labels.all(0)
    limits: Values = np.where(sure, np.clip(sigmoid(np.array(cuts)), 1e-12, 1 - 1e-12), 0.5)
    return limits


def multi_label_contributions(
    metric: str,
    logits: Floats,
    labels: Booleans,
    classes: Sequence[str],
    thresholds: Floats | None = None,
) -> Values:
    """Return a score's contribution of each example, see `contributions.contributions`.

    ``exact_match`` and ``bce`` are means of what they contribute; the others are linearised by the
    delete-one jackknife, computed exactly. Thresholds are taken as given.

    Args:
        metric: one of `multi_label_metrics`.
        logits: as there.
        labels: likewise.
        classes: likewise.
        thresholds: likewise.

    Raises:
        ValueError: as there; or a label has 1 example, whose score it cannot have without.
    """
    answers = _answers(logits, labels, classes, thresholds)
    if metric == "exact_match":
        return answers.exact.astype(np.float64)
    if metric == "bce":
        return _bce(answers)
    if len(logits) < 2:
        raise ValueError(f"{metric} of 1 example has no standard error; it needs 2 or more")
    score = multi_label_metrics(logits, labels, classes, thresholds)[metric]
    if metric.startswith(F1):
        place = metric_names(classes).index(metric.removeprefix(F1))
        without = _f1_without(answers)[:, place]
    else:
        without = _WITHOUT[metric](answers)
    values: Values = score + (len(logits) - 1) * (without.mean() - without)
    return values


def average_precisions(logits: Values, labels: Booleans) -> Values:
    """Return the average precision of each label, ``[C]``: Σ (R_n - R_(n-1)) P_n; 0 without one."""
    return np.array([_Ranked.of(z, y).area for z, y in zip(logits.T, labels.T, strict=True)])


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a model said of N examples and C labels."""

    logits: Values
    labels: Booleans
    said: Booleans
    classes: tuple[str, ...]

    @property
    def hits(self) -> Values:
        """Answers of each label that are right, ``[C]``."""
        return np.asarray((self.labels & self.said).sum(0), dtype=np.float64)

    @property
    def both(self) -> Values:
        """Examples with each label, and answers of it, together."""
        return np.asarray(self.labels.sum(0) + self.said.sum(0), dtype=np.float64)

    @property
    def f1(self) -> Values:
        """Of each label, ``[C]``."""
        return 2 * self.hits / np.maximum(self.both, 1)

    @property
    def exact(self) -> Booleans:
        """Whether each example has all labels right, ``[N]``."""
        return np.asarray(np.equal(self.labels, self.said).all(1))


def _answers(
    logits: Floats, labels: Booleans, classes: Sequence[str], thresholds: Floats | None
) -> _Answers:
    if logits.ndim != 2 or logits.shape != labels.shape or len(logits) == 0:
        raise ValueError(f"logits of shape {logits.shape} for labels of shape {labels.shape}")
    if logits.shape[1] != len(classes):
        raise ValueError(f"logits of {logits.shape[1]} labels for {len(classes)} names")
    if not np.isfinite(logits).all():
        raise ValueError("logits that are not finite (nan or inf) cannot be scored")
    z = logits.astype(np.float64)
    limits = np.full(len(classes), 0.5) if thresholds is None else np.asarray(thresholds)
    return _Answers(z, labels, answered(z, limits), tuple(classes))


def answered(logits: Floats, thresholds: Floats) -> Booleans:
    """Say which labels are answered, ``[N, C]``."""
    said: Booleans = sigmoid(logits) > thresholds
    return said


def sigmoid(logits: Floats) -> Values:
    """Return probabilities, in float64."""
    from scipy.special import expit

    found: Values = expit(logits.astype(np.float64))
    return found


def _bce(answers: _Answers) -> Values:
    z, y = answers.logits, answers.labels
    # log(1 + e^z) - y z, without overflow.
    losses: Values = (np.logaddexp(0, z) - y * z).mean(1)
    return losses


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


@dataclass(frozen=True, eq=False)
class _Ranked:
    """A label's examples by score, from the highest; those of one score are one group.

    Attributes:
        scores: of each of G groups, descending.
        true: examples with the label down to each group, inclusive.
        count: examples down to it.
        group: of each example, ``[N]``.
    """

    scores: Values
    true: Values
    count: Values
    group: npt.NDArray[np.intp]

    @classmethod
    def of(cls, z: Values, y: Booleans) -> "_Ranked":
        scores, group = np.unique(-z, return_inverse=True)
        true = np.bincount(group, weights=y, minlength=len(scores)).cumsum()
        count = np.bincount(group, minlength=len(scores)).cumsum().astype(np.float64)
        return cls(-scores, true, count, group)

    @property
    def positives(self) -> float:
        return float(self.true[-1])

    @property
    def hits(self) -> Values:
        """Right answers if no group is answered, the first, the first two, ..., ``[G + 1]``."""
        return np.concatenate([[0.0], self.true])

    @property
    def said(self) -> Values:
        """Answers, likewise."""
        return np.concatenate([[0.0], self.count])

    @property
    def f1(self) -> Values:
        """F1, likewise."""
        both = self.said + self.positives
        return np.where(both > 0, 2 * self.hits / np.maximum(both, 1), 0.0)

    def gains(self, f1: float) -> Values:
        """What answering so much adds to micro-F1 that is `f1`, likewise."""
        return 2 * self.hits - f1 * self.said

    def cut(self, worth: Values) -> float:
        """Return the logit, nearest to 0, above which answers are worth most."""
        ends = np.concatenate([[self.scores[0] + 2], self.scores, [self.scores[-1] - 2]])
        cuts = (ends[1:] + ends[:-1]) / 2
        best = np.flatnonzero(worth >= worth.max() - 1e-9)
        return float(cuts[best[np.abs(cuts[best]).argmin()]])

    @property
    def own(self) -> Values:
        """Examples with the label in each group."""
        return np.diff(self.true, prepend=0)

    @property
    def area(self) -> float:
        return _ratio(float((self.own * self.true / self.count).sum()), self.positives)

    def without_each(self, y: Booleans) -> Values:
        """Return the area without each example, ``[N]``; 0 where no other has the label."""
        own, g = self.own, self.group
        above = np.concatenate([[0.0], (own * self.true / self.count).cumsum()])[:-1]
        found = np.empty(len(y))
        for has in (False, True):
            # All groups below have one fewer down to them, and its own one fewer in it.
            below = own * (self.true - has) / np.maximum(self.count - 1, 1)
            after = np.append(below[::-1].cumsum()[::-1], 0.0)[1:]
            within = (own - has) * (self.true - has) / np.maximum(self.count - 1, 1)
            left = self.positives - has
            total = (above + within + after)[g] / left if left else np.zeros(len(y))
            found = np.where(y == has, total, found)
        return found


def _f1_without(answers: _Answers) -> Values:
    """Return F1 of each label without each example, ``[N, C]``."""
    hits = answers.hits - (answers.labels & answers.said)
    both = answers.both - answers.labels - answers.said.astype(np.float64)
    f1: Values = 2 * hits / np.maximum(both, 1)
    return f1


def _macro_f1(answers: _Answers) -> Values:
    found: Values = _f1_without(answers).mean(1)
    return found


def _micro_f1(answers: _Answers) -> Values:
    hits = answers.hits.sum() - (answers.labels & answers.said).sum(1)
    both = answers.both.sum() - answers.labels.sum(1) - answers.said.sum(1)
    f1: Values = 2 * hits / np.maximum(both, 1)
    return f1


def _mean_average_precision(answers: _Answers) -> Values:
    counts = answers.labels.sum(0)
    for label in np.flatnonzero(counts == 1):
        raise ValueError(
            f"mean_average_precision has no standard error: {answers.classes[label]} has 1 "
            "example; a label needs 2 or more"
        )
    present = np.flatnonzero(counts)
    areas = [
        _Ranked.of(answers.logits[:, i], answers.labels[:, i]).without_each(answers.labels[:, i])
        for i in present
    ]
    found: Values = np.mean(areas, axis=0)
    return found


_WITHOUT: Mapping[str, Callable[[_Answers], Values]] = {
    "micro_f1": _micro_f1,
    "macro_f1": _macro_f1,
    "mean_average_precision": _mean_average_precision,
}
