"""Metrics of a classifier on one split, from its logits and the true labels."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Booleans, Floats, Integers
from adapterlab.evidence.calibration import reliability
from adapterlab.evidence.ranking import mean_area


def classification_metrics(
    logits: Floats, labels: Integers, classes: Sequence[str]
) -> dict[str, float]:
    """Score logits against labels; every key is a valid MLflow metric name.

    The predicted class is the largest logit, the lowest index on ties. Probabilities are the
    softmax in float64, so that the result does not depend on the precision of the training.

    Args:
        logits: ``[N, C]``, N at least 1, all finite.
        labels: ``[N]``, integers from 0 to C - 1.
        classes: the C class names, in the order of the columns.

    Returns:
        ``accuracy``; ``macro_f1``, the mean over all C classes, where a class that is neither
        present nor predicted counts as 0; ``mcc``, see `matthews_correlation`;
        ``balanced_accuracy``, the mean recall of the classes that have an example; ``nll``, the
        mean negative log-likelihood in nats; ``ece``, see `expected_calibration_error`;
        ``brier``, the mean over examples of the sum over classes of (p - y)², from 0 to 2 (Brier,
        1950, "Verification of forecasts expressed in terms of probability"); ``auroc``, the mean
        over the classes that have an example of the area under the ROC curve of the class against
        the rest, see `ranking`, left out where all labels are of one class; and
        ``recall/<class>`` and ``f1/<class>``, see above, for every class that has an example. A
        class absent from the labels has no recall, so its keys are left out.

    Raises:
        ValueError: if a logit is not finite, or shapes, labels and classes do not fit together.
    """
    check_logits(logits, labels, classes)
    log_p = log_softmax(logits.astype(np.float64))
    p = np.exp(log_p)
    predictions = logits.argmax(axis=1)
    one_hot = labels[:, None] == np.arange(len(classes))

    confusion = confusion_matrix(labels, predictions, len(classes))
    right, examples = confusion.diagonal(), confusion.sum(axis=1)
    # F1 is 2TP / (2TP + FP + FN), and the denominator is all of the class and all called so.
    f1 = 2 * right / np.maximum(examples + confusion.sum(axis=0), 1)
    area = mean_area(logits, labels)
    return {
        "accuracy": float(right.sum() / len(labels)),
        "macro_f1": float(f1.mean()),
        "mcc": matthews_correlation(confusion),
        "balanced_accuracy": float((right / np.maximum(examples, 1))[examples > 0].mean()),
        # Not sklearn's log_loss: it clips probabilities, which hides how wrong a sure answer is.
        "nll": float(-log_p[one_hot].mean()),
        "ece": expected_calibration_error(p.max(axis=1), predictions == labels),
        "brier": float(np.square(p - one_hot).sum(axis=1).mean()),
        **({} if area is None else {"auroc": area}),
    } | {
        f"{kind}/{name}": float(values[i])
        for kind, values in (("recall", right / np.maximum(examples, 1)), ("f1", f1))
        for i, name in enumerate(metric_names(classes))
        if examples[i]
    }


def answers_one_class(metrics: Mapping[str, float], split: str = "test") -> bool:
    """Say whether a model answers one class whatever it is shown, though there are several.

    Args:
        metrics: of a run, as they are logged: ``test/classes_answered``, ``test/recall/cat``.
        split: that is meant.
    """
    present = sum(name.startswith(f"{split}/recall/") for name in metrics)
    return metrics.get(f"{split}/classes_answered") == 1 and present > 1


def expected_calibration_error(confidence: Floats, correct: Booleans, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy: Guo et al., 2017 (arXiv:1706.04599), equation 3.

    ECE = Σ_b |B_b| / N · |accuracy(B_b) - confidence(B_b)|, over equal-width bins of the
    confidence of the predicted class, each open on the left and closed on the right.

    Args:
        confidence: ``[N]``, the probability of the predicted class, from 0 to 1.
        correct: ``[N]``, whether the predicted class is the true one.
        bins: the number of bins.

    Returns:
        A share, from 0 to 1.
    """
    members = reliability(confidence, correct, bins=bins)
    return sum(one.count * abs(one.gap) for one in members) / len(confidence)


def confusion_matrix(
    labels: Integers, predictions: Integers, n_classes: int
) -> npt.NDArray[np.int64]:
    """Count examples by true class (rows) and predicted class (columns).

    Args:
        labels: ``[N]``, integers from 0 to ``n_classes - 1``.
        predictions: ``[N]``, likewise.
        n_classes: C.

    Returns:
        Counts, ``[C, C]``; they add up to N.

    Raises:
        ValueError: if the lengths differ or an index is outside 0 to ``n_classes - 1``.
    """
    if labels.shape != predictions.shape:
        raise ValueError(f"{labels.shape} labels for {predictions.shape} predictions")
    _check_indices(labels, n_classes, "labels")
    _check_indices(predictions, n_classes, "predictions")
    cells = labels.astype(np.int64) * n_classes + predictions.astype(np.int64)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def matthews_correlation(confusion: Integers) -> float:
    """Correlation of predicted and true classes, R_K: Gorodkin, 2004.

    "Comparing two K-category assignments by a K-category correlation coefficient", equation 8.
    With two classes it is the coefficient of Matthews (1975).

    Args:
        confusion: counts ``[C, C]``, true class by predicted class.

    Returns:
        From -1 to 1; 0 where all labels or all predictions are of one class, so that there is
        nothing to correlate.
    """
    n, right = float(confusion.sum()), float(confusion.diagonal().sum())
    true, said = confusion.sum(axis=1).astype(float), confusion.sum(axis=0).astype(float)
    spread = (n * n - said @ said) * (n * n - true @ true)
    return float((right * n - true @ said) / np.sqrt(spread)) if spread > 0 else 0.0


def log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logarithms of the softmax of each row, ``[N, C]``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def check_logits(logits: Floats, labels: Integers, classes: Sequence[str]) -> None:
    """Refuse what `classification_metrics` cannot score by a ValueError that says why."""
    if logits.ndim != 2 or logits.shape != (len(labels), len(classes)) or len(labels) == 0:
        raise ValueError(
            f"logits of shape {logits.shape} for {len(labels)} labels and {len(classes)} classes; "
            "expected [N, C] with N of at least 1"
        )
    _check_indices(labels, len(classes), "labels")
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise ValueError(
            f"{broken} of {len(logits)} examples have logits that are not finite (nan or inf): "
            "the training diverged or overflowed, so there is nothing to score"
        )


def _check_indices(indices: Integers, n_classes: int, what: str) -> None:
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(
            f"{what} of shape {indices.shape} and type {indices.dtype}; expected integers [N]"
        )
    outside = indices[(indices < 0) | (indices >= n_classes)]
    if outside.size:
        raise ValueError(f"{what} hold {outside[0]}; expected 0 to {n_classes - 1}")


def metric_names(classes: Sequence[str]) -> list[str]:
    """Turn class names into distinct last parts of MLflow metric names, in the same order.

    A name that was safe already keeps its form, whichever class comes first. Names that differ
    in case alone clash too: in MySQL and on some file systems they are one key.
    """
    safe = [_safe(name) for name in classes]
    names = [""] * len(classes)
    taken: set[str] = set()
    for i in sorted(range(len(classes)), key=lambda i: safe[i] != classes[i]):
        name, copy = safe[i], 1
        while name.casefold() in taken:
            copy += 1
            name = f"{safe[i]}_{copy}"
        taken.add(name.casefold())
        names[i] = name
    return names


def _safe(name: str) -> str:
    # "/" would be allowed, but MLflow reads keys as paths: "a//b" or ".." is refused.
    # 200 characters leave room for the prefix and a suffix within MLflow's 250.
    safe = re.sub(r"[^\w.\- ]", "_", name.strip())[:200]
    return "_" if set(safe) <= {"."} else safe
