import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest

from adapterlab.evidence.metrics import classification_metrics, confusion_matrix
from adapterlab.evidence.mistakes import (
    ClassMistakes,
    ConfusedPair,
    WrongAnswer,
    confidently_wrong,
    confused_pairs,
    hardest_first,
    misclassification_shares,
    wilson_interval,
)

# Class 2 has no example; class 3 is always taken for class 0.
COUNTS = np.array([[8, 1, 1, 0], [3, 5, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0]])

PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.9, 0.04, 0.06]]
)
LABELS = np.array([0, 2, 1, 2, 2])

matrices = hnp.arrays(
    np.int64, st.integers(1, 6).map(lambda c: (c, c)), elements=st.integers(0, 30)
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, C] with ties, and labels [N]."""
    n, c = draw(st.integers(1, 25)), draw(st.integers(1, 5))
    logits = draw(hnp.arrays(np.float32, (n, c), elements=st.integers(-6, 6)))
    return logits, draw(hnp.arrays(np.int64, n, elements=st.integers(0, c - 1)))


def confusion_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return confusion_matrix(labels, logits.argmax(1), logits.shape[1])


# Classes


def test_shares_by_hand() -> None:
    classes = misclassification_shares(COUNTS)
    assert classes == (
        ClassMistakes(label=0, examples=10, wrong=2),
        ClassMistakes(label=1, examples=8, wrong=3),
        ClassMistakes(label=2, examples=0, wrong=0),
        ClassMistakes(label=3, examples=3, wrong=3),
    )
    assert [one.share for one in classes] == [0.2, 0.375, None, 1.0]


@settings(deadline=None)
@given(matrices)
def test_examples_and_mistakes_add_up_to_the_confusion_matrix(confusion: np.ndarray) -> None:
    classes = misclassification_shares(confusion)
    assert sum(one.examples for one in classes) == confusion.sum()
    assert sum(one.wrong for one in classes) == confusion.sum() - np.trace(confusion)
    for one in classes:
        assert (one.share is None) == (one.examples == 0)
        assert one.share is None or one.share * one.examples == pytest.approx(one.wrong)


@settings(deadline=None)
@given(answers())
def test_shares_are_what_recall_lacks_to_1(data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = data
    metrics = classification_metrics(logits, labels, [str(i) for i in range(logits.shape[1])])
    shares = {
        f"recall/{one.label}": pytest.approx(1 - one.share)
        for one in misclassification_shares(confusion_of(logits, labels))
        if one.share is not None
    }
    assert {key: value for key, value in metrics.items() if key.startswith("recall/")} == shares


def test_hardest_first_prefers_more_evidence_and_puts_classes_without_examples_last() -> None:
    empty, easy = ClassMistakes(0, 0, 0), ClassMistakes(1, 5, 0)
    few, many, as_many = ClassMistakes(2, 4, 1), ClassMistakes(3, 40, 10), ClassMistakes(4, 40, 10)
    worst = ClassMistakes(5, 2, 2)
    assert hardest_first([empty, easy, few, as_many, many, worst]) == (
        worst,
        many,
        as_many,
        few,
        easy,
        empty,
    )


# Pairs


def test_pairs_by_hand() -> None:
    assert confused_pairs(COUNTS, top=10) == (
        ConfusedPair(label=1, prediction=0, count=3, share=3 / 8),
        ConfusedPair(label=3, prediction=0, count=3, share=1.0),
        ConfusedPair(label=0, prediction=1, count=1, share=1 / 10),
        ConfusedPair(label=0, prediction=2, count=1, share=1 / 10),
    )


def test_counting_pairs_leaves_the_matrix_as_it_was() -> None:
    confusion = COUNTS.copy()
    confused_pairs(confusion, top=1)
    assert (confusion == COUNTS).all()


@settings(deadline=None)
@given(matrices, st.integers(1, 40))
def test_pairs_hold_all_mistakes_and_top_cuts_the_list(confusion: np.ndarray, top: int) -> None:
    pairs = confused_pairs(confusion, top=36)
    assert sum(pair.count for pair in pairs) == confusion.sum() - np.trace(confusion)
    assert all(pair.count > 0 and pair.label != pair.prediction for pair in pairs)
    assert all(pair.count == confusion[pair.label, pair.prediction] for pair in pairs)
    for one in misclassification_shares(confusion):
        shares = [pair.share for pair in pairs if pair.label == one.label]
        assert sum(shares) == pytest.approx(one.share or 0)
    keys = [(-pair.count, pair.label, pair.prediction) for pair in pairs]
    assert keys == sorted(set(keys))
    assert confused_pairs(confusion, top) == pairs[:top]


def test_unsigned_counts_are_sorted_like_signed_ones() -> None:
    assert confused_pairs(COUNTS.astype(np.uint8), 10) == confused_pairs(COUNTS, 10)


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        (np.zeros((2, 3), dtype=int), r"shape \(2, 3\) and type int64; expected integers \[C, C\]"),
        (np.zeros(4, dtype=int), r"shape \(4,\)"),
        (np.zeros((2, 2)), "type float64"),
        (np.array([[1, -2], [0, 1]]), "holds -2; expected counts from 0"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(confusion: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        misclassification_shares(confusion)
    with pytest.raises(ValueError, match=message):
        confused_pairs(confusion, top=1)


# Examples


def test_surest_mistakes_by_hand() -> None:
    found = confidently_wrong(np.log(PROBABILITIES), LABELS, top=10)
    assert [(one.row, one.label, one.prediction) for one in found] == [
        (4, 2, 0),
        (1, 2, 1),
        (2, 1, 0),
    ]
    assert [one.confidence for one in found] == pytest.approx([0.9, 0.8, 0.6])
    assert [one.probability_of_label for one in found] == pytest.approx([0.06, 0.1, 0.3])
    assert confidently_wrong(np.log(PROBABILITIES), LABELS, top=2) == found[:2]


def test_equal_confidence_is_sorted_by_row() -> None:
    logits = np.tile([[1.0, 0.0]], (30, 1))
    found = confidently_wrong(logits, np.arange(30) % 2, top=20)
    assert [one.row for one in found] == list(range(1, 30, 2))


def test_a_tie_of_logits_is_a_mistake_if_the_true_class_is_the_later_one() -> None:
    found = confidently_wrong(np.zeros((2, 4)), np.array([0, 3]), top=5)
    assert found == (WrongAnswer(1, 3, 0, 0.25, 0.25),)


def test_half_precision_logits_get_probabilities_in_float64() -> None:
    logits = np.array([[12.0, 0.0]], dtype=np.float16)
    (one,) = confidently_wrong(logits, np.array([1]), top=1)
    assert one.probability_of_label == pytest.approx(1 / (1 + math.exp(12)), rel=1e-12)
    assert type(one.row) is type(one.label) is int
    assert type(one.confidence) is float


def test_large_logits_do_not_overflow() -> None:
    (one,) = confidently_wrong(np.array([[3e4, -3e4]]), np.array([1]), top=1)
    assert (one.confidence, one.probability_of_label) == (1.0, 0.0)


def test_no_mistakes_no_entries() -> None:
    assert confidently_wrong(np.eye(3), np.arange(3), top=5) == ()
    assert confused_pairs(np.eye(3, dtype=int), top=5) == ()


@settings(deadline=None)
@given(answers(), st.randoms())
def test_every_mistake_is_found_once_in_any_order_of_the_rows(data, random) -> None:
    logits, labels = data
    n = len(labels)
    found = confidently_wrong(logits, labels, top=n)
    confusion = confusion_of(logits, labels)
    assert {one.row for one in found} == set(np.flatnonzero(logits.argmax(1) != labels).tolist())
    assert len(found) == sum(one.wrong for one in misclassification_shares(confusion))
    for pair in confused_pairs(confusion, top=25):
        members = [o for o in found if (o.label, o.prediction) == (pair.label, pair.prediction)]
        assert len(members) == pair.count
    keys = [(-one.confidence, one.row) for one in found]
    assert keys == sorted(keys)
    assert all(one.confidence >= one.probability_of_label >= 0 for one in found)
    assert all(one.confidence + one.probability_of_label <= 1 + 1e-12 for one in found)

    order = np.array(random.sample(range(n), n))
    moved = confidently_wrong(logits[order], labels[order], top=n)
    confidences = {one.row: one.confidence for one in found}
    assert {int(order[one.row]): one.confidence for one in moved} == pytest.approx(confidences)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), np.array([0]), r"\(2, 3\) for labels of shape \(1,\)"),
        (np.zeros(2), np.array([0, 1]), r"expected \[N, C\]"),
        (np.zeros((2, 2)), np.array([[0], [1]]), r"labels of shape \(2, 1\)"),
        (np.zeros((2, 0)), np.array([0, 0]), r"\(2, 0\)"),
        (np.zeros((2, 2)), np.array([0, 2]), "labels hold 2; expected 0 to 1"),
        (np.zeros((2, 2)), np.array([0, -1]), "labels hold -1"),
        (np.zeros((2, 2)), np.array([0.0, 1.0]), "float64; expected integers"),
        (np.array([[0, 1], [math.nan, 0]]), np.array([0, 1]), "1 of 2 examples have logits"),
        (np.array([[0, math.inf]]), np.array([0]), "not finite"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    logits: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        confidently_wrong(logits, labels, top=1)


@pytest.mark.parametrize("top", [0, -1])
def test_top_is_at_least_1(top: int) -> None:
    with pytest.raises(ValueError, match=f"top is {top}; expected at least 1"):
        confused_pairs(COUNTS, top)
    with pytest.raises(ValueError, match=f"top is {top}; expected at least 1"):
        confidently_wrong(np.eye(2), np.arange(2), top)


# Intervals


def test_wilson_interval_by_hand() -> None:
    # z = 1.959964, z² = 3.841459: (5 + 1.920729 ± 1.959964·√(2.5 + .960365)) / 13.841459.
    assert wilson_interval(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    # No mistake in n: the upper end is z² / (n + z²).
    assert wilson_interval(0, 10) == (0, pytest.approx(3.841459 / 13.841459, abs=1e-6))


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(1, 400), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_interval_is_scipys_and_holds_the_share(count: int, n: int, level: float) -> None:
    assume(count <= n)
    low, high = wilson_interval(count, n, level)
    expected = binomtest(count, n).proportion_ci(level, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= count / n <= high <= 1
    assert wilson_interval(n - count, n, level) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(
    ("count", "n", "level", "message"),
    [
        (1, 0, 0.95, "1 of 0"),
        (0, 0, 0.95, "0 of 0"),
        (-1, 3, 0.95, "-1 of 3"),
        (4, 3, 0.95, "4 of 3"),
        (1, 3, 1.0, "level is 1.0"),
    ],
)
def test_wilson_interval_of_nothing_is_refused(
    count: int, n: int, level: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wilson_interval(count, n, level)
