import itertools
import math

import numpy as np
import pytest
from scipy import stats

from adapterlab.evidence.tasks import (
    compare_ranks,
    critical_difference,
    rank_by_task,
    smallest_p,
)

# Demsar, 2006, table 6: ranks by AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets.
DEMSAR = np.array(
    [
        *([4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1]),
        *([1, 2.5, 4, 2.5], [3, 2, 4, 1], [2.5, 2.5, 4, 1], [4, 3, 2, 1]),
        *([2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2]),
    ]
)


class TestDemsarsExample:
    def test_mean_ranks_and_statistics(self) -> None:
        found = compare_ranks(-DEMSAR)
        assert found.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
        assert found.order == (3, 1, 2, 0)
        # He leaves ties uncorrected: χ² is 9.28 and F 3.69. Ours is SciPy's, corrected.
        squares = sum(rank**2 for rank in found.mean_ranks)
        chi_square = 12 * 14 / (4 * 5) * (squares - 4 * 5**2 / 4)
        assert chi_square == pytest.approx(9.28, abs=5e-3)
        assert 13 * chi_square / (14 * 3 - chi_square) == pytest.approx(3.69, abs=5e-3)
        ties = 1 - sum(
            t**3 - t for row in DEMSAR for t in np.unique(row, return_counts=True)[1]
        ) / (14 * (4**3 - 4))
        assert found.chi_square == pytest.approx(chi_square / ties)

    @pytest.mark.parametrize(("level", "expected"), [(0.05, 1.25), (0.10, 1.12)])
    def test_critical_difference(self, level: float, expected: float) -> None:
        assert critical_difference(14, 4, level=level) == pytest.approx(expected, abs=5e-3)

    def test_who_is_told_apart(self) -> None:
        # "At p = 0.05 not even powerful enough"; "at p = 0.10, C4.5 is worse than +m and +m+cf".
        assert compare_ranks(-DEMSAR).groups == ((3, 1, 2, 0),)
        found = compare_ranks(-DEMSAR, level=0.10)
        assert found.groups == ((3, 1, 2), (2, 0))
        assert found.apart(0, 1)
        assert found.apart(3, 0)
        assert not found.apart(0, 2)
        assert not found.apart(2, 3)


@pytest.mark.parametrize(
    ("arms", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (7, 2.949), (10, 3.164)]
)
def test_the_quantiles_are_those_of_demsars_table_5(arms: int, q: float) -> None:
    assert critical_difference(1, arms) == pytest.approx(
        q * math.sqrt(arms * (arms + 1) / 6), rel=4e-4
    )


@pytest.mark.parametrize("decimals", [1, 6])  # with ties, and without
def test_the_statistic_is_that_of_scipy(decimals: int) -> None:
    x = np.random.default_rng(decimals).normal(size=(12, 5)).round(decimals)
    found = compare_ranks(x)
    assert found.chi_square == pytest.approx(stats.friedmanchisquare(*x.T).statistic)
    assert np.array_equal(rank_by_task(-x), stats.rankdata(x, axis=1))
    assert compare_ranks(-x, higher_is_better=False) == found


def test_two_arms_are_a_sign_test() -> None:
    # Of eight tasks, seven prefer the first: as a fair coin that falls seven times on a side.
    x = np.array([[1, 0]] * 7 + [[0, 1]])
    found = compare_ranks(x)
    assert found.exact
    assert found.p == pytest.approx(stats.binomtest(7, 8).pvalue)


@pytest.mark.parametrize("ties", [False, True])
def test_enumeration_counts_all_ways(ties: bool) -> None:
    x = np.random.default_rng(3).normal([0, 1, 2], size=(4, 3))
    ranks = rank_by_task(np.round(x) if ties else x)
    found = compare_ranks(-ranks)
    observed = np.square(ranks.sum(axis=0) - 8).sum()
    ways = itertools.product(*(list(itertools.permutations(row)) for row in ranks))
    extreme = [np.square(np.sum(way, axis=0) - 8).sum() >= observed - 1e-9 for way in ways]
    assert found.exact
    assert found.p == pytest.approx(np.mean(extreme))


def test_many_arms_are_tested_by_the_f_distribution() -> None:
    x = np.random.default_rng(0).normal(size=(8, 9))
    found = compare_ranks(x)
    assert not found.exact
    assert found.f == pytest.approx(7 * found.chi_square / (8 * 8 - found.chi_square))
    assert found.p == pytest.approx(stats.f.sf(found.f, 8, 56))
    # Where all tasks agree, F is infinite; p is no smaller than what chance would do.
    agreed = compare_ranks(np.tile(np.arange(9), (2, 1)))
    assert math.isinf(agreed.f)
    assert agreed.p == agreed.smallest_p == 1 / math.factorial(9)


class TestTooFewTasks:
    def test_five_tasks_cannot_tell_two_arms_apart_and_six_can(self) -> None:
        five = compare_ranks([[1, 0]] * 5)
        assert (five.p, five.smallest_p, five.enough) == (0.0625, 0.0625, 6)
        assert five.too_few
        assert five.groups == ((0, 1),)
        six = compare_ranks([[1, 0]] * 6)
        assert not six.too_few
        assert six.groups == ((0,), (1,))

    def test_two_tasks_cannot_tell_any_apart_though_friedman_could(self) -> None:
        found = compare_ranks([[3, 2, 1, 0]] * 2)
        assert found.p == pytest.approx(1 / 24)
        assert found.critical_difference > 3
        assert found.too_few
        assert found.groups == ((0, 1, 2, 3),)

    def test_one_task_has_ranks_and_no_test(self) -> None:
        found = compare_ranks([[0.9, 0.8, 0.9]])
        assert found.mean_ranks == (1.5, 3, 1.5)
        assert found.p == smallest_p(1, 3) == 1
        assert math.isnan(found.f)

    def test_arms_that_always_tie(self) -> None:
        found = compare_ranks([[0.5, 0.5, 0.5]] * 4)
        assert (found.chi_square, found.p, found.groups) == (0, 1, ((0, 1, 2),))


def test_arms_alike_are_told_apart_5_in_100_times_at_most() -> None:
    rng = np.random.default_rng(1)
    for tasks, arms in ((3, 3), (6, 2), (5, 4), (4, 10)):
        apart = [len(compare_ranks(rng.normal(size=(tasks, arms))).groups) > 1 for _ in range(400)]
        assert np.mean(apart) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400), (tasks, arms)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1.0], [2.0]], r"\(2, 1\); expected \[N, k\], N from 1 and k from 2"),
        ([[1.0, 2.0], [2.0]], "different numbers of arms"),
        ([[1.0, math.nan]], "hold nan; expected finite"),
        ([1.0, 2.0], r"\(2,\)"),
    ],
)
def test_what_is_no_table_is_refused(scores: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_ranks(scores)


def test_no_tasks_have_no_critical_difference() -> None:
    with pytest.raises(ValueError, match="0 tasks and 3 arms"):
        critical_difference(0, 3)
