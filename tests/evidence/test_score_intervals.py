"""Intervals of one arm's score: of any metric, never empty, and within what the score may be."""

from collections.abc import Callable

import numpy as np
import pytest

from adapterlab.evidence.all_metrics import contributions_of, metric
from adapterlab.evidence.contributions import METRICS, SOURCE
from adapterlab.evidence.score_intervals import carried_by, heaviest_weight, score_interval

CLASSES = ("cat", "dog")
LABELS = np.arange(200) % 2
SEVERAL = np.stack([LABELS == 0, LABELS == 1], axis=1)
OF_CLASSES = (
    *(name for name, one in METRICS.items() if one.bounded and name != SOURCE),
    *("recall/cat", "f1/dog"),
)
OF_LABELS = ("micro_f1", "macro_f1", "mean_average_precision", "exact_match", "f1/cat")


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "balanced_accuracy", "recall/cat"])
def test_intervals_of_shares_end_at_100_percent(metric: str) -> None:
    values = np.ones((3, 40))
    values[0, :3] = 0
    found = score_interval(metric, values, level=0.999)
    assert found is not None
    assert 0 <= found.low < found.high <= 1


@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_model_that_is_always_right_has_an_interval(name: str) -> None:
    """Of every metric but accuracy it was 100.00% to 100.00%, or 1.0882 above."""
    logits = np.where(SEVERAL, 40.0, 0.0)
    values = np.stack([contributions_of("single_label", name, logits, LABELS, CLASSES)] * 3)
    heaviest = heaviest_weight(name, LABELS, CLASSES)
    found, known = score_interval(name, values, heaviest=heaviest), metric(name)
    assert found is not None
    assert known is not None
    assert 0.01 < found.high - found.low < 0.04
    assert known.least <= found.low
    assert found.high <= known.most


@pytest.mark.parametrize("name", OF_LABELS)
def test_labels_that_are_always_right_have_an_interval(name: str) -> None:
    logits = np.where(SEVERAL, 40.0, -40.0)
    values = np.stack([contributions_of("multi_label", name, logits, SEVERAL, CLASSES)] * 3)
    found = score_interval(name, values, heaviest=heaviest_weight(name, SEVERAL, CLASSES))
    assert found is not None
    assert found.high == 1
    assert 0.01 < found.high - found.low < 0.04


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "r2"])
def test_errors_that_are_all_nothing_have_no_interval(name: str) -> None:
    true = np.linspace(0, 1, 50)
    values = np.stack([contributions_of("regression", name, true, true, ())] * 3)
    assert score_interval(name, values) is None


@pytest.mark.parametrize("name", ["mse", "mae", "rmse", "nll", "bce"])
def test_no_error_is_below_nothing(name: str) -> None:
    values = np.zeros((3, 30))
    values[:, 0] = 5
    found = score_interval(name, values)
    assert found is not None
    assert found.low == 0 < found.high


def test_no_correlation_is_above_one() -> None:
    values = np.ones((3, 10))
    values[:, 0] = -1
    found = score_interval("mcc", values)
    assert found is not None
    assert found.high == 1


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        *(("accuracy", 1), ("macro_f1", 100 / (3 * 10)), ("auroc", 100 / (3 * 10)), ("nll", 1)),
        *(("recall/c", 10), ("f1/a", 2), ("mcc", 2), ("ece", 1)),
    ],
)
def test_how_much_the_heaviest_example_weighs(name: str, weight: float) -> None:
    labels = np.repeat([0, 1, 2], [50, 40, 10])
    assert heaviest_weight(name, labels, ("a", "b", "c")) == pytest.approx(weight)
    assert heaviest_weight("r2", np.linspace(0, 1, 5), ()) == 1


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        *(("macro_f1", lambda p: p), ("mcc", lambda p: 2 * p - 1), ("recall/cat", lambda p: p)),
        ("f1/dog", lambda p: p),
    ],
)
@pytest.mark.parametrize("share", [0.999, 0.99, 0.9])
def test_it_holds_where_almost_all_is_right(
    name: str, truth: Callable[[float], float], share: float
) -> None:
    """Two classes of equal sizes and errors; where no error was seen, it held never."""
    rng = np.random.default_rng(0)
    studies, held = 1000, 0
    for _ in range(studies):
        said = np.where(rng.random(len(LABELS)) < share, LABELS, 1 - LABELS)
        logits = np.eye(2)[said]
        values = contributions_of("single_label", name, logits, LABELS, CLASSES)[None]
        weight = heaviest_weight(name, LABELS, CLASSES)
        found = score_interval(name, values, heaviest=weight)
        assert found is not None
        held += found.low <= truth(share) <= found.high
    assert held / studies > 0.915  # with 10 wrong answers a class it is 93%


def test_how_many_examples_carry_a_spread() -> None:
    assert carried_by(np.tile([1.0, -1.0], (2, 50))) == pytest.approx(100)
    one = np.zeros((3, 1000))
    one[:, 0] = 9
    assert carried_by(one) == pytest.approx(1, abs=0.01)
    assert carried_by(np.ones((2, 7))) == 7
