import math
import time
import warnings
from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from adapterlab.evidence.intervals import Interval
from adapterlab.evidence.paired import (
    mcnemar,
    paired_bootstrap,
    paired_permutation,
    paired_t,
    welch_t,
)

A = [0.90, 0.80, 0.85, 0.95]
B = [0.80, 0.85, 0.75, 0.80]


def answers(only_a: int, only_b: int, both: int = 0) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, False, True], [only_a, only_b, both])
    b = np.repeat([False, True, True], [only_a, only_b, both])
    return a, b


def random_answers(seeds_a: int, seeds_b: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    easy = rng.beta(2, 0.5, n)
    return rng.random((seeds_a, n)) < easy, rng.random((seeds_b, n)) < easy - 0.03


def test_mcnemar_golden_value_by_hand() -> None:
    # Of 5 fair coins, 0 or 1 heads: (1 + 5) / 32, and as many tails.
    found = mcnemar(*answers(4, 1, both=7))
    assert (found.only_a, found.only_b) == (4, 1)
    assert found.p == pytest.approx(12 / 32)
    assert mcnemar(*answers(5, 0)).p == pytest.approx(2 / 32)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 3), (2, 11), (70, 41)])
def test_mcnemar_is_that_of_scipy_and_statsmodels(only_a: int, only_b: int) -> None:
    p = mcnemar(*answers(only_a, only_b, both=5)).p
    if only_a + only_b:
        assert p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    table = [[5, only_a], [only_b, 0]]
    assert p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_paired_bootstrap_p_is_that_of_all_resamples() -> None:
    # 7 examples: 3 favour A, 1 favours B, 3 neither; all ways to draw 7 of them, by multinomial.
    exact = stats.multinomial(7, [3 / 7, 1 / 7, 3 / 7])
    below = tied = 0.0
    for i, j in product(range(8), range(8)):
        if i + j <= 7:
            below += exact.pmf([i, j, 7 - i - j]) * (i < j)
            tied += exact.pmf([i, j, 7 - i - j]) * (i == j)

    found = paired_bootstrap(*answers(3, 1, both=3), resamples=200_000)
    assert found.difference == pytest.approx(2 / 7)
    assert found.p == pytest.approx(2 * (below + tied / 2), abs=0.005)


@pytest.mark.parametrize(("seeds_a", "seeds_b"), [(1, 1), (3, 3), (5, 4), (2, 6)])
def test_paired_bootstrap_is_that_of_drawn_examples(seeds_a: int, seeds_b: int) -> None:
    a, b = random_answers(seeds_a, seeds_b, 300)
    found = paired_bootstrap(a, b)

    by_example = a.mean(axis=0) - b.mean(axis=0)
    rows = np.random.default_rng(1).integers(300, size=(10_000, 300))
    draws = by_example[rows].mean(axis=1)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.standard_error == pytest.approx(by_example.std() / math.sqrt(300))
    noise = 0.1 * found.standard_error
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), abs=noise)
    far_side = min(
        (draws <= 0).mean() + (draws < 0).mean(), (draws >= 0).mean() + (draws > 0).mean()
    )
    assert found.p == pytest.approx(far_side, abs=0.02)


def test_paired_bootstrap_takes_one_row_for_one_seed_and_knows_no_direction() -> None:
    a, b = random_answers(1, 1, 100)
    found, mirrored = paired_bootstrap(a[0], b[0]), paired_bootstrap(b, a)
    assert found == paired_bootstrap(a, b)
    assert mirrored.difference == -found.difference
    assert mirrored.p == pytest.approx(found.p, abs=0.02)


@pytest.mark.parametrize("p_of", [lambda a, b: paired_bootstrap(a, b).p, paired_permutation])
def test_p_over_examples_is_never_0_and_1_without_disagreement(p_of) -> None:
    a, b = answers(0, 0, both=9)
    assert p_of(a, b) == 1
    a, b = answers(400, 0)
    assert 0 < p_of(a, b) < 1e-3


@pytest.mark.parametrize(("only_a", "only_b"), [(3, 0), (5, 1), (2, 9), (30, 14)])
def test_paired_permutation_of_one_seed_is_mcnemar(only_a: int, only_b: int) -> None:
    a, b = answers(only_a, only_b, both=20)
    assert paired_permutation(a, b) == pytest.approx(mcnemar(a, b).p, abs=0.02)


def test_paired_permutation_is_that_of_scipy() -> None:
    a, b = random_answers(5, 3, 80)
    theirs = stats.permutation_test(
        (a.mean(axis=0), b.mean(axis=0)),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        rng=1,
    )
    assert paired_permutation(a, b) == pytest.approx(theirs.pvalue, abs=0.02)


def test_few_examples_decide_nothing_though_the_bootstrap_thinks_so() -> None:
    # Five coins that fall alike: 1 in 16. Hardly a resample misses all five: e^-5 is 0.007.
    a, b = answers(5, 0, both=495)
    assert paired_bootstrap(a, b).p < 0.02
    assert paired_permutation(a, b) == pytest.approx(1 / 16, abs=0.01)


def test_paired_bootstrap_is_fast() -> None:
    a, b = random_answers(5, 5, 10_000)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        paired_bootstrap(a, b)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05


def test_paired_t_golden_values_by_hand() -> None:
    # Differences .10, -.05, .10 and .15: mean .075, squares about it .0225 / 3; t = .075 / .0433.
    found = paired_t(A, B)
    assert (found.difference, found.n) == (pytest.approx(0.075), 4)
    assert found.deviation == pytest.approx(math.sqrt(0.0075))
    assert found.effect == pytest.approx(0.075 / math.sqrt(0.0075))
    assert found.interval is not None
    assert found.interval.half_width == pytest.approx(3.1824 * math.sqrt(0.0075 / 4), abs=1e-5)


def test_paired_t_is_that_of_scipy() -> None:
    theirs = stats.ttest_rel(A, B)
    found = paired_t(A, B, level=0.9)
    assert found.p == pytest.approx(theirs.pvalue)
    limits = theirs.confidence_interval(0.9)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((limits.low, limits.high))


@pytest.mark.parametrize("b", [[0.8, 0.85, 0.7], B, [0.1, 0.9]])
def test_welch_t_is_that_of_scipy(b: list[float]) -> None:
    theirs = stats.ttest_ind(A, b, equal_var=False)
    found = welch_t(A, b)
    assert found.difference == pytest.approx(np.mean(A) - np.mean(b))
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.freedom == pytest.approx(theirs.df)
    limits = theirs.confidence_interval()
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((limits.low, limits.high))


def test_welch_effect_by_hand() -> None:
    # Means 2 and 4, deviations 1 and 3: 2 / √((1 + 9) / 2).
    assert welch_t([1, 2, 3], [1, 4, 7]).effect == pytest.approx(-2 / math.sqrt(5))


@pytest.mark.parametrize("test", [paired_t, welch_t])
def test_differences_without_spread_have_a_p_of_1_or_0(test) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # In floating point, .9 - .8, .7 - .6 and .3 - .2 are three numbers.
        apart = test([0.9, 0.9, 0.9], [0.8, 0.8, 0.8])
        same = test([0.1, 0.1, 0.1], [0.3 - 0.2] * 3)
    assert (apart.p, apart.effect, apart.standard_error) == (0, None, 0)
    assert apart.interval == Interval(apart.difference, apart.difference)
    assert (same.p, same.effect, same.difference) == (1, None, 0)


def test_rounding_of_pairs_is_no_spread() -> None:
    found = paired_t([0.9, 0.7, 0.3], [0.8, 0.6, 0.2])
    assert (found.deviation, found.p, found.effect) == (0, 0, None)


def test_one_seed_has_a_difference_and_nothing_else() -> None:
    one = paired_t([0.9], [0.7])
    assert one.difference == pytest.approx(0.2)
    assert (one.deviation, one.interval, one.p, one.effect) == (None, None, None, None)
    single = welch_t([0.9], [0.7, 0.8])
    assert single.difference == pytest.approx(0.15)
    assert (single.interval, single.p, single.effect) == (None, None, None)


@pytest.mark.parametrize("test", [mcnemar, paired_bootstrap, paired_permutation])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones(3, bool), np.ones(4, bool), "3 examples for 4"),
        (np.ones(3), np.ones(3, bool), "type float64; expected bool"),
        (np.ones(0, bool), np.ones(0, bool), r"shape \(1, 0\)"),
        (np.ones((1, 1, 3), bool), np.ones(3, bool), r"shape \(1, 1, 3\)"),
    ],
)
def test_answers_that_do_not_fit_are_refused(test, a, b, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        test(a, b)


def test_mcnemar_is_of_one_seed() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\); expected \[N\]"):
        mcnemar(np.ones((2, 3), bool), np.ones((2, 3), bool))


def test_paired_t_needs_pairs() -> None:
    with pytest.raises(ValueError, match="4 values for 3; expected pairs"):
        paired_t(A, B[:3])
