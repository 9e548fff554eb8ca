import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterlab.evidence.contributions import (
    METRICS,
    contributions,
    higher_is_better,
    known,
    least_answers,
    unit,
)
from adapterlab.evidence.metrics import classification_metrics

OF_THE_TARGET = tuple(name for name in METRICS if name != "source_accuracy")
LINEARISED = ("macro_f1", "mcc", "balanced_accuracy", "auroc", "recall/0", "f1/0")


def sample(
    n: int, accuracy: float, shares: Sequence[float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Draw logits and labels: classes of given shares, the later ones the harder.

    A wrong answer goes to any other class; logits are somewhat overconfident.
    """
    c = len(shares)
    labels = rng.choice(c, size=n, p=shares)
    wrong = (1 - accuracy) * (0.5 + labels / max(1, c - 1))
    said = np.where(rng.random(n) < wrong, (labels + rng.integers(1, c, n)) % c, labels)
    logits = rng.normal(size=(n, c))
    logits[np.arange(n), said] = logits.max(axis=1) + rng.exponential(2, n) + 1e-6
    return logits, labels, tuple(str(i) for i in range(c))


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 120), st.integers(2, 9), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_their_mean_is_the_score(n: int, classes: int, accuracy: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels, names = sample(n, accuracy, rng.dirichlet(np.ones(classes)), rng)
    counts = np.bincount(labels, minlength=classes)
    metrics = classification_metrics(logits, labels, names)
    undefined = {"auroc"} if (counts > 0).sum() == 1 else set()
    assert set(OF_THE_TARGET) - metrics.keys() == undefined
    for name, score in metrics.items():
        if name.startswith(("recall/", "f1/")) and counts[int(name.partition("/")[2])] < 2:
            continue
        if name in ("balanced_accuracy", "auroc") and (counts == 1).any():
            continue
        values = contributions(name, logits, labels, names)
        assert values.shape == (n,)
        assert values.dtype == np.float64
        assert values.mean() == pytest.approx(score, abs=1e-12, rel=1e-12), name


@pytest.mark.parametrize("name", LINEARISED)
@pytest.mark.parametrize("classes", [2, 4])
def test_linearised_ones_are_what_leaving_examples_out_gives(name: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    logits, labels, names = sample(40, 0.7, np.full(classes, 1 / classes), rng)
    everything = np.arange(len(labels))
    without = np.array(
        [
            classification_metrics(logits[everything != i], labels[everything != i], names)[name]
            for i in everything
        ]
    )
    score = classification_metrics(logits, labels, names)[name]
    expected = score + 39 * (without.mean() - without)
    np.testing.assert_allclose(contributions(name, logits, labels, names), expected, atol=1e-12)


@pytest.fixture(scope="module", params=[(0.4, 0.3, 0.3), (0.8, 0.1, 0.1)], ids=str)
def drawn_again(
    request: pytest.FixtureRequest,
) -> tuple[tuple[np.ndarray, np.ndarray, tuple[str, ...]], list[dict[str, float]]]:
    """A sample, and the scores of 400 that are drawn from it with replacement."""
    rng = np.random.default_rng(7)
    logits, labels, names = sample(1500, 0.8, request.param, rng)
    draws = [rng.integers(len(labels), size=len(labels)) for _ in range(400)]
    scores = [classification_metrics(logits[drawn], labels[drawn], names) for drawn in draws]
    return (logits, labels, names), scores


@pytest.mark.parametrize("name", [*OF_THE_TARGET, "recall/0", "recall/2", "f1/0", "f1/2"])
def test_standard_errors_are_those_of_the_bootstrap(
    name: str,
    drawn_again: tuple[tuple[np.ndarray, np.ndarray, tuple[str, ...]], list[dict[str, float]]],
) -> None:
    answers, scores = drawn_again
    # 400 draws leave 3.5% of noise in a standard deviation.
    own = standard_error(contributions(name, *answers))
    assert own == pytest.approx(np.std([one[name] for one in scores], ddof=1), rel=0.12)


def coverage(
    names: Sequence[str], n: int, accuracy: float, shares: Sequence[float], seed: int
) -> dict[str, float]:
    """Return how often score ± 1.96 errors holds the score of a very large sample."""
    rng = np.random.default_rng(seed)
    truth = classification_metrics(*sample(300_000, accuracy, shares, rng))
    held: dict[str, list[bool]] = {name: [] for name in names}
    for _ in range(500):
        answers = sample(n, accuracy, shares, rng)
        for name in names:
            values = contributions(name, *answers)
            held[name].append(abs(values.mean() - truth[name]) <= 1.96 * standard_error(values))
    return {name: float(np.mean(each)) for name, each in held.items()}


@pytest.mark.parametrize(
    ("n", "accuracy", "shares"),
    [(200, 0.6, (0.5, 0.5)), (1000, 0.9, (0.6, 0.3, 0.1)), (1000, 0.8, (0.1,) * 10)],
)
def test_95_of_100_intervals_hold_the_score(
    n: int, accuracy: float, shares: Sequence[float]
) -> None:
    names = ("accuracy", "macro_f1", "mcc", "balanced_accuracy", "nll", "f1/1")
    # 500 draws leave a standard deviation of 1%.
    expected = pytest.approx(dict.fromkeys(names, 0.95), abs=0.03)
    assert coverage(names, n, accuracy, shares, seed=n) == expected


def test_a_class_of_few_examples_that_are_mostly_right_is_held_too_rarely() -> None:
    """What the docstring of `least_answers` warns of: 8 examples, less than one of them wrong."""
    held = coverage(["recall/0"], 100, 0.9, (0.08, 0.92), seed=1)
    assert held["recall/0"] < 0.6


def test_the_calibration_error_of_few_examples_is_biased_and_its_interval_does_not_know() -> None:
    """Perfectly calibrated answers have an ECE of 0, which no interval of positive values holds."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 300)
    labels = (rng.random(300) > p).astype(int)
    values = contributions("ece", np.log(np.stack([p, 1 - p], axis=1)), labels, ("no", "yes"))
    assert values.mean() > 1.96 * standard_error(values)


def test_shares_and_losses_of_single_examples_by_hand() -> None:
    logits = np.log([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]])
    labels, names = np.array([0, 1]), ("cat", "dog", "frog")
    assert contributions("accuracy", logits, labels, names).tolist() == [1, 0]
    assert contributions("source_accuracy", logits, labels, names).tolist() == [1, 0]
    assert contributions("nll", logits, labels, names) == pytest.approx(-np.log([0.7, 0.3]))
    assert contributions("brier", logits, labels, names) == pytest.approx([0.14, 0.86])
    # Each is alone in its bin: surer by 0.3 less than right, and by 0.6 more than wrong.
    assert contributions("ece", logits, labels, names) == pytest.approx([0.3, 0.6])


def test_only_its_class_decides_a_recall() -> None:
    rng = np.random.default_rng(0)
    logits, labels, names = sample(60, 0.7, (0.5, 0.5), rng)
    values = contributions("recall/1", logits, labels, names)
    assert len(np.unique(values[labels == 0].round(12))) == 1
    assert len(np.unique(values[labels == 1].round(12))) == 2


def test_direction_and_unit() -> None:
    assert [name for name in METRICS if not higher_is_better(name)] == ["nll", "ece", "brier"]
    assert higher_is_better("recall/cat")
    others = {"mcc": "", "nll": "nats", "brier": ""}
    assert {name: unit(name) for name in (*METRICS, "recall/cat")} == {
        **dict.fromkeys((*METRICS, "recall/cat"), "points"),
        **others,
    }
    assert known("recall/a_b", ("a/b", "c")).title == "recall of a/b"
    assert known("f1/a_b", ("a/b", "c")).title == "F1 of a/b"
    assert (higher_is_better("f1/cat"), unit("f1/cat")) == (True, "points")
    with pytest.raises(ValueError, match="f1 is no metric"):
        higher_is_better("f1")


def test_how_few_answers_a_score_hangs_on() -> None:
    labels, names = np.array([0, 0, 0, 0, 1, 1, 1]), ("a", "b", "c")
    correct = np.array([[1, 1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 0, 0]], dtype=bool)
    # On average 3.5 right and 0.5 wrong of a, 1.5 and 1.5 of b, none of c.
    expected = {
        "accuracy": 2,
        "macro_f1": 0.5,
        "mcc": 2,
        "balanced_accuracy": 0.5,
        "auroc": 3,
        "source_accuracy": 2,
        "recall/a": 0.5,
        "f1/a": 0.5,
        "recall/b": 1.5,
        "recall/c": 0,
        "nll": None,
        "ece": None,
        "brier": None,
    }
    assert {name: least_answers(name, correct, labels, names) for name in expected} == expected


def test_an_unknown_metric_is_refused_with_what_is_allowed() -> None:
    allowed = "accuracy, .*, source_accuracy, recall/cat, recall/dog, f1/cat, f1/dog$"
    with pytest.raises(ValueError, match=f"recall/cow is no metric; allowed: {allowed}"):
        contributions("recall/cow", np.zeros((1, 2)), np.array([0]), ("cat", "dog"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("recall/frog", "recall/frog of 0 examples has no standard error"),
        ("recall/dog", "recall/dog of 1 example has no standard error"),
        ("f1/dog", "f1/dog of 1 example has no standard error"),
        ("balanced_accuracy", "dog has 1 example; a class needs 2 or more"),
        ("auroc", "dog has 1 example; a class needs 2 or more"),
    ],
)
def test_classes_without_spread_are_refused(name: str, message: str) -> None:
    logits, labels = np.eye(3)[[0, 0, 1]], np.array([0, 0, 1])
    with pytest.raises(ValueError, match=message):
        contributions(name, logits, labels, ("cat", "dog", "frog"))


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        contributions("nll", np.array([[math.nan, 0.0]]), np.array([0]), ("cat", "dog"))


def test_one_class_said_to_everything_has_no_correlation_and_no_error() -> None:
    logits, labels = np.tile([1.0, 0.0], (6, 1)), np.array([0, 0, 0, 1, 1, 1])
    assert contributions("mcc", logits, labels, ("cat", "dog")).tolist() == [0] * 6
