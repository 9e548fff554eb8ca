"""Looks at a study before it is over: published boundaries, and what all looks together keep."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from adapterlab.evidence.sequential import (
    Spending,
    boundaries,
    crossing,
    levels,
    obrien_fleming,
    pocock,
    spent_at,
)

LOOKS = [3, 5, 8, 10, 15, 20]


@pytest.mark.parametrize(
    ("spending", "count", "z"),
    [
        # Two-sided 5%, as by the programs of Reboussin et al. (2000).
        (obrien_fleming, 2, [2.963, 1.969]),
        (obrien_fleming, 3, [3.710, 2.511, 1.993]),
        (obrien_fleming, 4, [4.333, 2.963, 2.359, 2.014]),
        (obrien_fleming, 5, [4.877, 3.357, 2.680, 2.290, 2.031]),
        (pocock, 5, [2.438, 2.427, 2.410, 2.397, 2.386]),
    ],
)
def test_published_bounds_of_equal_looks(spending: Spending, count: int, z: list[float]) -> None:
    found = boundaries([(k + 1) / count for k in range(count)], spending=spending)
    assert [look.z for look in found] == pytest.approx(z, abs=6e-4)
    for look in found:
        assert look.level == pytest.approx(2 * stats.norm.sf(look.z), rel=1e-9)
        assert look.spent == spending(look.fraction, 0.05)


@pytest.mark.parametrize(
    ("level", "count", "constant"),
    [(0.05, 2, 2.178), (0.05, 5, 2.413), (0.05, 10, 2.555), (0.01, 5, 2.986)],
)
def test_pocock_s_constants(level: float, count: int, constant: float) -> None:
    """Jennison & Turnbull (2000), table 2.1: the same bound at every look."""
    found = crossing(range(1, count + 1), [constant] * count)
    assert sum(found) == pytest.approx(level, rel=4e-3)


@pytest.mark.parametrize(
    ("level", "count", "constant"),
    [(0.05, 2, 1.977), (0.05, 5, 2.040), (0.05, 10, 2.087), (0.01, 4, 2.609), (0.01, 5, 2.621)],
)
def test_obrien_and_fleming_s_constants(level: float, count: int, constant: float) -> None:
    """Jennison & Turnbull (2000), table 2.3: the bound C · √(K / k) at look k."""
    z = [constant * (count / k) ** 0.5 for k in range(1, count + 1)]
    assert sum(crossing(range(1, count + 1), z)) == pytest.approx(level, rel=4e-3)


def test_repeated_tests_at_one_level() -> None:
    """Armitage, McPherson & Rowe (1969), table 2: what repeated tests at 5% come to."""
    for count, found in ((1, 0.05), (2, 0.083), (3, 0.107), (5, 0.142), (10, 0.193)):
        z = [stats.norm.isf(0.025)] * count
        assert sum(crossing(range(1, count + 1), z)) == pytest.approx(found, abs=6e-4)


@pytest.mark.parametrize("spending", [obrien_fleming, pocock])
@pytest.mark.parametrize("fractions", [[0.15, 0.25, 0.4, 0.5, 0.75, 1], [0.5, 0.501, 1], [1]])
def test_unequal_looks_spend_what_is_to_be_spent(
    spending: Spending, fractions: list[float]
) -> None:
    """Two integrations must agree: that of SciPy over the normal of all looks is another."""
    found = boundaries(fractions, spending=spending)
    times = np.array(fractions)
    covariance = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
    z = np.array([look.z for look in found])
    within = stats.multivariate_normal(cov=covariance, allow_singular=True, maxpts=2_000_000)
    assert 1 - within.cdf(z, lower_limit=-z) == pytest.approx(0.05, abs=2e-4)
    assert sum(crossing(fractions, list(z))) == pytest.approx(0.05, abs=1e-8)


def test_extra_looks_cost_the_later_ones() -> None:
    few, many = levels([5, 20], 20), levels([5, 10, 12, 20], 20)
    assert many[0] == few[0]
    assert many[-1] < few[-1]
    assert levels([20], 20) == [0.05]


@pytest.mark.parametrize("looks", [LOOKS, list(range(3, 11))])
def test_student_s_t_keeps_the_level_over_all_looks(looks: list[int]) -> None:
    """Two arms of normal scores, tested again and again."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((40_000, 2, looks[-1]))
    p = np.array([stats.ttest_ind(*(scores[:, arm, :n] for arm in (0, 1)), axis=1).pvalue
                  for n in looks])  # fmt: skip
    assert (p < 0.05).any(axis=0).mean() > 0.13
    for spending in (obrien_fleming, pocock):
        each = np.array(levels(looks, looks[-1], spending=spending))
        assert 0.042 < (p < each[:, None]).any(axis=0).mean() < 0.0533  # 5%, three standard errors


@pytest.mark.parametrize("arms", [3, 6, 10])
def test_a_family_keeps_the_level_over_all_looks(arms: int) -> None:
    """Bounds of the largest of all differences, each at its look's level, met by K walks."""
    rng = np.random.default_rng(arms)

    def ranges() -> np.ndarray:
        walks = np.zeros((40_000, arms))
        found = []
        for steps in np.diff([0, *LOOKS]):
            walks += rng.standard_normal(walks.shape) * np.sqrt(steps)
            found.append(np.ptp(walks, axis=1))
        return np.array(found) / np.sqrt(LOOKS)[:, None]

    alone = ranges()
    bounds = [
        np.quantile(one, 1 - level)
        for one, level in zip(alone, levels(LOOKS, 20, arms=arms), strict=True)
    ]
    share = (ranges() > np.array(bounds)[:, None]).any(axis=0).mean()
    assert 0.040 < share < 0.0533  # 5% and three standard errors


def test_looks_beyond_the_plan_stay_below_twice_the_level() -> None:
    spent = spent_at([3, 5, 8, 10, 20], 5)
    assert spent == pytest.approx([pocock(0.6, 0.05), 0.05, 0.075, 0.0875, 0.09375])
    found = levels(list(range(2, 40)), 2)
    assert found[0] == 0.05
    assert all(later < earlier for earlier, later in pairwise(found))
    z = stats.norm.isf(np.array(found) / 2)
    assert sum(crossing(range(1, 39), list(z))) == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ([], "expected growing"),
        ([0.5, 0.5], "expected growing"),
        ([0.0, 1], "expected growing"),
        ([0.5, 1.1], "expected at most 1"),
    ],
)
def test_what_are_no_looks(fractions: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        boundaries(fractions)
    with pytest.raises(ValueError, match="1 bounds for 2 looks"):
        crossing([1, 2], [2.0])
    for looks, most, arms in (([1, 2], 2, 2), ([2], 1, 2), ([2], 2, 1)):
        with pytest.raises(ValueError, match="expected at least 2 of each"):
            levels(looks, most, arms=arms)
