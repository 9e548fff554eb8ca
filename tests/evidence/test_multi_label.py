"""Scores of several labels against scikit-learn, thresholds, and contributions of examples."""

from itertools import product

import numpy as np
import pytest
from sklearn import metrics

from adapterlab.evidence.multi_label import (
    choose_thresholds,
    multi_label_contributions,
    multi_label_metrics,
    sigmoid,
)

NAMES = ("a", "b", "c", "d")
SCORES = ("micro_f1", "macro_f1", "mean_average_precision", "exact_match", "bce", "f1/b")


def made(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of a few examples, with ties for odd seeds; each label has two or more."""
    rng = np.random.default_rng(seed)
    labels = rng.random((int(rng.integers(8, 40)), 4)) < 0.4
    labels[:2], labels[2:4] = True, False
    logits = labels + rng.normal(size=labels.shape)
    return (np.round(logits) if seed % 2 else logits), labels


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    logits, labels = made(seed)
    limits = np.array([0.3, 0.5, 0.6, 0.4])
    found, said = multi_label_metrics(logits, labels, NAMES, limits), sigmoid(logits) > limits
    expected = {
        "micro_f1": metrics.f1_score(labels, said, average="micro"),
        "macro_f1": metrics.f1_score(labels, said, average="macro"),
        "mean_average_precision": metrics.average_precision_score(labels, logits, average="macro"),
        "exact_match": metrics.accuracy_score(labels, said),
        "bce": np.mean([metrics.log_loss(labels[:, i], sigmoid(logits[:, i])) for i in range(4)]),
    }
    each = metrics.f1_score(labels, said, average=None)
    expected |= {f"f1/{name}": f1 for name, f1 in zip(NAMES, each, strict=True)}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_is_better(seed: int) -> None:
    logits, labels = made(seed)
    for label, limit in enumerate(choose_thresholds(logits, labels, macro=True)):
        p, true = sigmoid(logits[:, label]), labels[:, label]
        # What is said changes at a probability only: these are all thresholds that there are.
        best = max(metrics.f1_score(true, p > other) for other in (0.0, *np.unique(p)))
        assert metrics.f1_score(true, p > limit) >= best - 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_no_thresholds_make_a_better_micro_f1(seed: int) -> None:
    logits, labels = made(seed)
    logits, labels = logits[:9, :2], labels[:9, :2]
    places = [np.append(np.sort(column), 9) - 0.01 for column in logits.T]

    def micro_f1(limits: np.ndarray) -> float:
        return multi_label_metrics(logits, labels, ("a", "b"), limits)["micro_f1"]

    best = max(micro_f1(sigmoid(np.array(pair))) for pair in product(*places))
    assert micro_f1(choose_thresholds(logits, labels)) == pytest.approx(best)


def test_a_label_that_validation_does_not_show_keeps_a_half() -> None:
    limits = choose_thresholds(np.array([[3.0, 1.0], [2.0, -1.0]]), np.array([[False, True]] * 2))
    assert limits.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("seed", range(2))
def test_contributions_are_the_jackknife(name: str, seed: int) -> None:
    logits, labels = made(seed)
    score = multi_label_metrics(logits, labels, NAMES)[name]
    values = multi_label_contributions(name, logits, labels, NAMES)
    assert values.mean() == pytest.approx(score)
    n = len(labels)
    left = [np.arange(n) != i for i in range(n)]
    without = np.array([multi_label_metrics(logits[r], labels[r], NAMES)[name] for r in left])
    np.testing.assert_allclose(values, score + (n - 1) * (without.mean() - without), atol=1e-9)


def test_a_label_of_one_example_has_no_average_precision_without_it() -> None:
    labels = np.zeros((5, 2), dtype=bool)
    labels[0] = labels[1, 0] = True
    with pytest.raises(ValueError, match="b has 1 example"):
        multi_label_contributions("mean_average_precision", np.ones((5, 2)), labels, ("a", "b"))
