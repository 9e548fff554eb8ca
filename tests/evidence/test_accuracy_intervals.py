import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from shares import coverage
from statsmodels.stats.proportion import proportion_confint

from adapterlab.evidence.accuracy_intervals import clopper_pearson, share_interval


def ends(correct: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    interval = share_interval(correct, level)
    return interval.low, interval.high


@pytest.mark.parametrize(("right", "n"), [(0, 20), (1, 20), (37, 50), (995, 1000), (50, 50)])
@pytest.mark.parametrize("level", [0.95, 0.995])
def test_one_seed_gives_the_interval_of_clopper_and_pearson(
    right: int, n: int, level: float
) -> None:
    expected = proportion_confint(right, n, alpha=1 - level, method="beta")
    interval = share_interval(np.arange(n)[None] < right, level)
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert (interval.seeds_error, interval.freedom) == (None, None)
    assert interval.examples == pytest.approx(n)
    assert interval.examples_error == pytest.approx(np.sqrt(right / n * (1 - right / n) / n))


def test_golden_values_of_a_table() -> None:
    # 8 of 10: 0.4439 to 0.9748, in any table of exact binomial limits (Clopper & Pearson's own
    # charts show 0.44 and 0.975).
    assert ends(np.arange(10)[None] < 8) == pytest.approx((0.4439, 0.9748), abs=5e-5)


@pytest.mark.parametrize("right", [0, 12, 30])
def test_seeds_that_agree_on_every_example_are_one(right: int) -> None:
    one = np.arange(30)[None] < right
    assert ends(np.repeat(one, 5, axis=0)) == pytest.approx(ends(one), rel=1e-9, abs=1e-12)


def test_without_an_error_of_examples_it_is_korn_and_graubards() -> None:
    """As svyciprop(method = "beta") of R's survey package: n over the seeds' design effect.

    There, n_eff = p(1 - p) / variance · (t of n - 1 / t of the design's degrees of freedom)².
    """
    accuracies = np.array([0.82, 0.86, 0.85, 0.9])
    n, p = 5000, accuracies.mean()
    variance = accuracies.var(ddof=1) / 4
    worth = p * (1 - p) / variance * (stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, 3)) ** 2
    expected = (
        stats.beta.ppf(0.025, worth * p, worth * (1 - p) + 1),
        stats.beta.ppf(0.975, worth * p + 1, worth * (1 - p)),
    )
    interval = share_interval(np.tile(accuracies[:, None], n))
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-9)
    assert interval.seeds_error == pytest.approx(np.sqrt(variance))
    assert interval.freedom == 3
    assert interval.examples == pytest.approx(worth)
    assert interval.examples_error == pytest.approx(0, abs=1e-12)


def test_the_interaction_of_seeds_and_examples_counts_once() -> None:
    """Independent coin flips: each of S·N is worth one example, if the seeds' t is that of many."""
    rng = np.random.default_rng(0)
    worth = np.mean([share_interval(rng.random((60, 400)) < 0.7).examples for _ in range(40)])
    assert worth == pytest.approx(60 * 400, rel=0.15)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_it_is_never_empty_holds_the_mean_and_lies_within_0_and_1(
    seeds: int, n: int, p: float, seed: int
) -> None:
    correct = np.random.default_rng(seed).random((seeds, n)) < p
    interval = share_interval(correct)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    assert interval.low < interval.high
    assert interval.mean == pytest.approx(correct.mean())
    wider = share_interval(correct, 1 - 0.05 / 20)
    assert wider.low <= interval.low
    assert wider.high >= interval.high


def test_numbers_from_0_to_1_are_shares_too() -> None:
    constant = share_interval(np.full((3, 50), 0.5))
    assert (constant.low, constant.high) == pytest.approx(ends(np.arange(50)[None] < 25))


def test_all_wrong_and_all_right_mirror_each_other() -> None:
    correct = np.random.default_rng(0).random((3, 80)) < 0.9
    low, high = ends(correct)
    assert ends(~correct) == pytest.approx((1 - high, 1 - low))


def test_counts_need_not_be_whole() -> None:
    low, high = clopper_pearson(0.9, 12.5).low, clopper_pearson(0.9, 12.5).high
    assert clopper_pearson(0.9, 12).low < low < clopper_pearson(0.9, 13).low
    assert clopper_pearson(0.9, 12).high > high > clopper_pearson(0.9, 13).high


SIMULATED = [
    (0.5, 100, 3, "strong", 0.999),
    (0.7, 300, 5, "flips", 0.985),
    (0.9, 300, 3, "strong", 0.999),
    (0.9, 1000, 5, "mild", 0.99),
    (0.97, 300, 20, "flips", 0.98),
    (0.97, 1000, 10, "strong", 0.99),
    (0.995, 300, 5, "mild", 1.0),
    (0.995, 1000, 20, "strong", 0.99),
]


@pytest.mark.parametrize(("accuracy", "n", "seeds", "scenario", "most"), SIMULATED)
def test_95_of_100_intervals_hold_the_accuracy(
    accuracy: float, n: int, seeds: int, scenario: str, most: float
) -> None:
    """A part of scripts/simulations/shares.py; 500 draws leave a deviation of 1%."""
    held, _ = coverage(accuracy, (seeds, n), scenario, np.random.default_rng(seeds), 500)
    assert 0.93 <= held <= most


def test_skewed_seeds_near_100_percent_are_held_too_rarely_as_the_docstring_says() -> None:
    held, _ = coverage(0.97, (5, 1000), "extreme", np.random.default_rng(0), 500)
    assert 0.84 < held < 0.93


@pytest.mark.parametrize(
    ("correct", "level", "message"),
    [
        (np.zeros(3), 0.95, r"answers of shape \(3,\); expected \[S, N\]"),
        (np.zeros((0, 3)), 0.95, "S and N of at least 1"),
        (np.array([[0.5, 1.5]]), 0.95, "answers hold 1.5; expected numbers from 0 to 1"),
        (np.array([[0.5, np.nan]]), 0.95, "answers hold nan"),
        (np.ones((1, 3)), 95, "level is 95; expected above 0, below 1"),
    ],
)
def test_what_is_no_share_is_refused(correct: np.ndarray, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        share_interval(correct, level)
