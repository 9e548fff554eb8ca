import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterlab.evidence.metrics import classification_metrics
from adapterlab.evidence.ranking import mean_area, rankings

seeds = st.integers(0, 2**32 - 1)


def test_by_hand() -> None:
    """Of 2 x 3 pairs 4 are in order and 1 is tied."""
    logits = np.array([[0, 3], [0, 1], [0, 2], [0, 1], [0, 0]])
    labels = np.array([1, 1, 0, 0, 0])
    (one,) = rankings(logits, labels)
    assert one.area == pytest.approx(4.5 / 6)
    assert one.placements == pytest.approx([1, 1.5 / 3, 1 / 2, 1.5 / 2, 1])
    assert one.without_each() == pytest.approx([1.5 / 3, 1, 3.5 / 4, 3 / 4, 2.5 / 4])


@settings(deadline=None)
@given(st.integers(2, 100), seeds)
def test_of_two_classes_it_is_that_of_sklearn_with_ties(n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels, scores = draw.integers(0, 2, n), draw.integers(0, 6, n)
    labels[:2] = 0, 1
    logits = np.stack([np.zeros(n), scores], axis=1)
    expected = sklearn.metrics.roc_auc_score(labels, scores)
    assert mean_area(logits, labels) == pytest.approx(expected, rel=1e-12)
    assert mean_area(logits[:, ::-1], 1 - labels) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(st.integers(3, 6), st.integers(6, 100), seeds)
def test_of_more_classes_it_is_that_of_sklearn(classes: int, n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels, logits = draw.integers(0, classes, n), draw.normal(size=(n, classes))
    labels[:classes] = np.arange(classes)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = sklearn.metrics.roc_auc_score(labels, p, multi_class="ovr")
    assert mean_area(logits, labels) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_sure_answers_are_told_apart_where_probabilities_are_all_1(classes: int) -> None:
    logits = np.zeros((4, classes))
    logits[:, 1] = [100, 200, 300, 400]
    assert mean_area(logits, np.array([0, 0, 1, 1])) == pytest.approx(1)


def test_the_same_answer_to_everything_ranks_nothing() -> None:
    logits = np.tile([0.1, 0.7, 0.3], (9, 1)).astype(np.float32)
    assert mean_area(logits, np.arange(9) % 3) == pytest.approx(0.5)


def test_there_is_none_of_one_class_and_of_a_class_without_examples() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 3))
    names = ("cat", "dog", "frog")
    assert "auroc" not in classification_metrics(logits, np.full(6, 2), names)
    metrics = classification_metrics(logits, np.array([0, 1, 0, 1, 0, 1]), names)
    areas = [one.area for one in rankings(logits, np.array([0, 1, 0, 1, 0, 1]))]
    assert len(areas) == 2
    assert metrics["auroc"] == pytest.approx(np.mean(areas))
