import math
import posixpath
import re
import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterlab.evidence.metrics import (
    classification_metrics,
    confusion_matrix,
    expected_calibration_error,
    matthews_correlation,
)

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]])
LABELS = np.array([0, 1, 1, 2])
ANIMALS = ("cat", "dog", "frog")

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_golden_values_by_hand() -> None:
    metrics = classification_metrics(np.log(PROBABILITIES), LABELS, ANIMALS)
    del metrics["auroc"]  # see test_ranking

    assert metrics == pytest.approx(
        {
            "accuracy": 3 / 4,
            "macro_f1": (2 / 3 + 2 / 3 + 1) / 3,
            # 3 of 4 right; true 1, 2, 1 and predicted 2, 1, 1: (3·4 - 5) / √((16 - 6)(16 - 6)).
            "mcc": 7 / 10,
            "balanced_accuracy": (1 + 1 / 2 + 1) / 3,
            "nll": -math.log(0.7 * 0.8 * 0.3 * 0.5) / 4,
            # No two confidences share a bin: the mean of |1 - .7|, |1 - .8|, |0 - .6|, |1 - .5|.
            "ece": 1.6 / 4,
            # Squared errors over the classes: .14, .06, .86 and .38.
            "brier": 1.44 / 4,
            "recall/cat": 1.0,
            "recall/dog": 1 / 2,
            "recall/frog": 1.0,
            "f1/cat": 2 / 3,  # of 1 that is one and 2 that are called so, 1
            "f1/dog": 2 / 3,
            "f1/frog": 1.0,
        }
    )
    assert all(type(value) is float for value in metrics.values())


def test_logits_need_not_be_normalised_nor_small() -> None:
    shift = np.array([[1e4], [-1e4], [3.0], [0.0]])
    assert classification_metrics(np.log(PROBABILITIES) + shift, LABELS, ANIMALS) == pytest.approx(
        classification_metrics(np.log(PROBABILITIES), LABELS, ANIMALS), rel=1e-9
    )


def test_half_precision_logits_are_scored_in_float64() -> None:
    logits = np.array([[12.0, 0.0]], dtype=np.float16)
    metrics = classification_metrics(logits, np.array([0]), ("no", "yes"))
    assert metrics["nll"] == pytest.approx(math.log1p(math.exp(-12)), rel=1e-9)


def test_a_sure_and_wrong_answer_costs_its_whole_margin() -> None:
    metrics = classification_metrics(np.array([[100.0, 0.0]]), np.array([1]), ("no", "yes"))
    assert metrics["nll"] == pytest.approx(100)
    assert metrics["brier"] == pytest.approx(2)
    assert metrics["ece"] == pytest.approx(1)


def test_class_absent_from_the_labels_has_no_recall_but_counts_in_macro_f1() -> None:
    logits = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    metrics = classification_metrics(logits, np.array([0, 1]), ANIMALS)
    assert not {"recall/frog", "f1/frog"} & metrics.keys()
    assert metrics["macro_f1"] == pytest.approx(2 / 3)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_shares_and_counts_are_those_of_sklearn(n: int, classes: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels, logits = draw.integers(0, classes, n), draw.normal(size=(n, classes)).round(1)
    metrics = classification_metrics(logits, labels, [str(i) for i in range(classes)])

    columns, said = np.arange(classes), logits.argmax(axis=1)
    assert metrics["accuracy"] == sklearn.metrics.accuracy_score(labels, said)
    assert metrics["macro_f1"] == pytest.approx(
        sklearn.metrics.f1_score(labels, said, labels=columns, average="macro", zero_division=0),
        rel=1e-12,
    )
    assert metrics["mcc"] == pytest.approx(
        sklearn.metrics.matthews_corrcoef(labels, said), rel=1e-12, abs=1e-12
    )
    with warnings.catch_warnings():  # it warns of predicted classes that no example has
        warnings.simplefilter("ignore")
        balanced = sklearn.metrics.balanced_accuracy_score(labels, said)
    assert metrics["balanced_accuracy"] == pytest.approx(balanced, rel=1e-12)
    recalls = sklearn.metrics.recall_score(
        labels, said, labels=columns, average=None, zero_division=np.nan
    )
    known = {f"recall/{i}": recall for i, recall in enumerate(recalls) if not np.isnan(recall)}
    assert {key: metrics[key] for key in metrics if key.startswith("recall/")} == known
    of_each = sklearn.metrics.f1_score(labels, said, labels=columns, average=None, zero_division=0)
    f1 = {f"f1/{i}": score for i, score in enumerate(of_each) if i in labels}
    assert {key: metrics[key] for key in metrics if key.startswith("f1/")} == pytest.approx(f1)
    assert np.array_equal(
        confusion_matrix(labels, said, classes),
        sklearn.metrics.confusion_matrix(labels, said, labels=columns),
    )


def test_correlation_of_two_classes_is_matthews_and_does_not_overflow() -> None:
    # 95 and 90 right, 10 and 5 wrong: (95·90 - 10·5) / √(105·100·95·100).
    confusion = np.array([[95, 5], [10, 90]])
    expected = (95 * 90 - 10 * 5) / math.sqrt(105 * 100 * 95 * 100)
    assert matthews_correlation(confusion) == pytest.approx(expected, rel=1e-14)
    assert matthews_correlation(confusion * 10**7) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("confusion", [[[5, 0], [5, 0]], [[3, 7], [0, 0]], [[1, 0], [0, 0]]])
def test_where_all_is_one_class_there_is_no_correlation(confusion: list[list[int]]) -> None:
    assert matthews_correlation(np.array(confusion)) == 0


def test_ties_go_to_the_lowest_class() -> None:
    metrics = classification_metrics(np.zeros((2, 3)), np.array([0, 2]), ANIMALS)
    assert (metrics["recall/cat"], metrics["recall/frog"]) == (1, 0)


@pytest.mark.parametrize(
    ("classes", "keys"),
    [
        (("T-shirt/top", "ankle boot"), {"recall/T-shirt_top", "recall/ankle boot"}),
        (("a/b", "a_b"), {"recall/a_b_2", "recall/a_b"}),
        (("Cat", "cat"), {"recall/Cat", "recall/cat_2"}),
        (("a:b", "a?b"), {"recall/a_b", "recall/a_b_2"}),
        (("..", ""), {"recall/_", "recall/__2"}),
    ],
)
def test_recall_keys(classes: tuple[str, str], keys: set[str]) -> None:
    metrics = classification_metrics(np.eye(2), np.array([0, 1]), classes)
    assert {key for key in metrics if key.startswith("recall/")} == keys


@settings(deadline=None)
@given(st.lists(st.text(max_size=300) | st.sampled_from(["a", "A", "a_2", "a/", "."]), min_size=1))
def test_recall_keys_are_valid_and_distinct_for_any_class_names(classes: list[str]) -> None:
    n = len(classes)
    metrics = classification_metrics(np.eye(n), np.arange(n), classes)

    keys = [key for key in metrics if key.startswith("recall/")]
    assert len({key.casefold() for key in keys}) == n
    for key in keys:
        assert re.fullmatch(r"[/\w.\- ]+", key)
        assert posixpath.normpath(key) == key
        assert len(key) <= 250


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused(broken: float) -> None:
    logits = np.zeros((3, 2))
    logits[1] = broken
    with pytest.raises(ValueError, match="1 of 3 examples have logits that are not finite"):
        classification_metrics(logits, np.array([0, 1, 0]), ("no", "yes"))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 1]), r"\(2, 3\) for 2 labels and 2 classes"),
        (np.zeros((3, 2)), np.array([0, 1]), r"\(3, 2\) for 2 labels"),
        (np.zeros((0, 2)), np.array([], dtype=int), "at least 1"),
        (np.zeros((2, 2)), np.array([0, 2]), "labels hold 2; expected 0 to 1"),
        (np.zeros((2, 2)), np.array([0, -1]), "labels hold -1"),
        (np.zeros((2, 2)), np.array([0.0, 1.0]), "float64; expected integers"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    logits: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        classification_metrics(logits, labels, ("no", "yes"))


def test_ece_golden_value_within_one_bin() -> None:
    # Both in (14/15, 1]: accuracy 1/2, mean confidence .96; the third alone in (7/15, 8/15].
    confidence = np.array([0.95, 0.97, 0.5])
    correct = np.array([True, False, True])
    ece = expected_calibration_error(confidence, correct)
    assert ece == pytest.approx(2 / 3 * 0.46 + 1 / 3 * 0.5)


def test_ece_bins_are_closed_on_the_right() -> None:
    # With two bins, .5 shares the lower one with .25, where the gaps -.5 and +.75 cancel in part.
    ece = expected_calibration_error(np.array([0.5, 0.25]), np.array([False, True]), bins=2)
    assert ece == pytest.approx(0.25 / 2)


@settings(deadline=None)
@given(answers, st.randoms())
def test_ece_is_a_share_and_does_not_depend_on_the_order(answers, random) -> None:
    confidence, correct = map(np.array, zip(*answers, strict=True))
    ece = expected_calibration_error(confidence, correct)
    assert 0 <= ece <= 1

    order = random.sample(range(len(answers)), len(answers))
    assert expected_calibration_error(confidence[order], correct[order]) == pytest.approx(ece)


@settings(deadline=None)
@given(st.integers(1, 60), st.booleans())
def test_ece_of_perfect_confidence_is_0_if_right_and_1_if_wrong(n: int, right: bool) -> None:
    assert expected_calibration_error(np.ones(n), np.full(n, right)) == 1 - right


def test_confusion_matrix_has_true_classes_on_rows() -> None:
    counts = confusion_matrix(np.array([0, 0, 1, 3]), np.array([0, 1, 1, 0]), 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1], [0, 2], "predictions hold 2"),
        ([0, 3], [0, 1], "labels hold 3"),
        ([0, 1], [0], "labels for"),
    ],
)
def test_confusion_matrix_drops_nothing(
    labels: list[int], predictions: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(labels), np.array(predictions), 2)
