"""Tuning: against calculation by hand, and against the enumeration of all orders."""

import math
from itertools import combinations, permutations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterlab.evidence.tuning import (
    Lead,
    best,
    expected_best,
    lead,
    neighbours,
    shared_regret,
)

scores = st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]), min_size=1, max_size=7)


@pytest.mark.parametrize(
    ("values", "largest", "smallest"),
    [
        ([0.1, 0.3, 0.2], 1, 0),
        ([0.2, 0.3, 0.3], 1, 0),
        ([0.1, 0.1, 0.1], 0, 0),
        ([None, 0.0, None], 1, 1),
        ([None, -2.0, -1.0], 2, 1),
        ([None, None], None, None),
    ],
)
def test_the_best_is_the_first_of_equals_and_never_a_failure(values, largest, smallest) -> None:
    assert best(values, minimize=False) == largest
    assert best(values, minimize=True) == smallest


def test_expected_best_by_hand() -> None:
    """Of 1, 2, 4: one alone 7/3; of the pairs (1, 2), (1, 4), (2, 4) the best are 2, 4, 4."""
    one, two, three = expected_best([4.0, 1.0, 2.0])
    assert (one.mean, two.mean, three.mean) == pytest.approx((7 / 3, 10 / 3, 4))
    assert (one.low, one.high) == (1, 4)
    assert (two.low, two.high) == (2, 4)
    assert (three.low, three.high) == (4, 4)
    losses = [point.mean for point in expected_best([4.0, 1.0, 2.0], minimize=True)]
    assert losses == pytest.approx([7 / 3, (1 + 1 + 2) / 3, 1])


@settings(deadline=None)
@given(scores, st.booleans())
def test_expected_best_is_the_mean_over_all_choices_and_orders(values, minimize) -> None:
    pick = min if minimize else max
    curve = expected_best(values, minimize=minimize)
    assert [point.n for point in curve] == list(range(1, len(values) + 1))
    for point in curve:
        bests = [pick(some) for some in combinations(values, point.n)]
        assert point.mean == pytest.approx(fmean(bests))
        inside = [min(point.low, point.high) <= one <= max(point.low, point.high) for one in bests]
        assert fmean(inside) >= 0.8 - 1e-9
        worse = [one > point.low if minimize else one < point.low for one in bests]
        better = [one < point.high if minimize else one > point.high for one in bests]
        assert fmean(worse) <= 0.1 + 1e-9
        assert fmean(better) <= 0.1 + 1e-9
    if len(values) <= 5:
        orders = list(permutations(values))
        for point in curve:
            assert point.mean == pytest.approx(fmean(pick(order[: point.n]) for order in orders))
    assert curve[-1].mean == pytest.approx(pick(values))


def test_with_replacement_as_first_published_the_curve_is_biased_and_without_it_is_not() -> None:
    """The expected maximum of n uniform draws is n / (n + 1)."""
    rng, n, size = np.random.default_rng(0), 5, 8
    without, with_replacement = [], []
    for _ in range(2000):
        drawn = sorted(rng.random(size))
        without.append(expected_best(drawn)[n - 1].mean)
        cdf = (np.arange(size + 1) / size) ** n
        with_replacement.append(float(np.dot(np.diff(cdf), drawn)))
    error = np.std(without) / math.sqrt(len(without))
    assert abs(fmean(without) - n / (n + 1)) < 3 * error
    assert fmean(with_replacement) < n / (n + 1) - 10 * error


def test_what_failed_is_worse_than_all_else() -> None:
    """Of (failed, 1, 3): one alone may have failed; the pairs end in 1, 3, 3."""
    one, two, three = expected_best([None, 1.0, 3.0])
    assert one.mean is None
    assert one.low is None
    assert one.high == 3
    assert two.mean == pytest.approx(7 / 3)
    assert (three.mean, three.low) == (3, 3)
    nothing = expected_best([None, None])
    assert [(p.mean, p.low, p.high) for p in nothing] == [(None, None, None)] * 2


def test_no_curve_without_scores() -> None:
    with pytest.raises(ValueError, match="no scores"):
        expected_best([])
    with pytest.raises(ValueError, match="share is 1"):
        expected_best([1.0], share=1)


def test_regret_of_one_shared_setting_by_hand() -> None:
    regret = shared_regret([[0.5, 0.9, 0.8], [0.6, 0.5, 0.7]])
    assert regret.means == pytest.approx((0.25, 0.1, 0.05))
    assert regret.place == 2
    losses = shared_regret([[0.5, 0.9, 0.8], [0.6, 0.5, 0.7]], minimize=True)
    assert losses.means == pytest.approx((0.05, 0.2, 0.25))
    assert losses.place == 0


def test_regret_where_arms_failed() -> None:
    regret = shared_regret([[0.5, None, 0.8], [0.6, 0.9, None], [None, None, None]])
    assert regret.means == (pytest.approx(0.3), None, None)
    assert regret.place == 0
    assert shared_regret([[0.5, None], [None, 0.5]]).place is None
    with pytest.raises(ValueError, match="differ in the number"):
        shared_regret([[0.5], [0.5, 0.6]])
    for nothing in ([], [[None, None]]):
        with pytest.raises(ValueError, match="no arm has a score"):
            shared_regret(nothing)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3), min_size=1))
def test_regret_is_never_negative_and_none_where_all_agree(rows) -> None:
    regret = shared_regret(rows)
    assert min(regret.means) >= 0
    assert (regret.means[regret.place] == 0) == any(
        all(row[n] == max(row) for row in rows) for n in range(3)
    )


def test_neighbours_differ_in_one_option_and_nothing_lies_between() -> None:
    grid = [(lr, schedule) for lr in (0.001, 0.01, 0.1) for schedule in ("cosine", "linear")]
    assert neighbours(grid, 2) == [0, 3, 4]
    assert neighbours(grid, 0) == [1, 2]
    assert neighbours([(1,), (5,), (2,), (3,)], 2) == [0, 3]
    assert neighbours([(0.1,)], 0) == []
    assert neighbours([(None,), (1,), (5,)], 1) == [0, 2]


def test_a_lead_and_its_noise_by_hand() -> None:
    """Differences 0.1, 0.3: their mean 0.2, standard deviation 0.1414, standard error 0.1."""
    found = lead([0.5, 0.9], [0.4, 0.6])
    assert found.difference == pytest.approx(0.2)
    assert found.noise == pytest.approx(0.1)
    assert lead([0.5, 0.9], [0.4, 0.6], minimize=True).difference == pytest.approx(-0.2)
    assert lead([0.5], [0.4]) == Lead(pytest.approx(0.1), None)
    assert [Lead(0.2, noise).clear for noise in (0.1, 0.11, 0.0, None)] == [True, False, True, None]
    assert Lead(0.0, 0.0).clear is False
    with pytest.raises(ValueError, match="2 and 1 scores"):
        lead([0.5, 0.9], [0.4])
