import math

import numpy as np
import pytest
from scipy import stats

from adapterlab.evidence.aggregates import interquartile_mean, probability_of_improvement

# Scores of 8 seeds on 4 tasks, and what rliable 1.2.0 makes of them.
A = [
    [0.800, 0.777, 0.775, 0.805, 0.733, 0.708, 0.808, 0.798],
    [0.815, 0.750, 0.769, 0.753, 0.777, 0.788, 0.791, 0.806],
    [0.786, 0.803, 0.824, 0.799, 0.705, 0.737, 0.674, 0.723],
    [0.755, 0.867, 0.818, 0.835, 0.736, 0.814, 0.773, 0.776],
]
B = [
    [0.771, 0.818, 0.826, 0.888, 0.788, 0.824, 0.817, 0.830],
    [0.780, 0.864, 0.823, 0.743, 0.920, 0.849, 0.853, 0.797],
    [0.873, 0.791, 0.759, 0.863, 0.858, 0.811, 0.892, 0.826],
    [0.780, 0.814, 0.824, 0.826, 0.760, 0.854, 0.786, 0.761],
]


class TestGoldenValuesOfRliable:
    def test_interquartile_mean(self) -> None:
        found = interquartile_mean(A, resamples=10_000)
        assert found.value == pytest.approx(0.7828125)
        assert found.interval is not None
        # Its bootstrap's standard error is 0.0077 for 8 draws of 8; for 7, √(8/7) times that.
        tasks = [np.var(task, ddof=1) for task in A]
        freedom = sum(tasks) ** 2 / sum(variance**2 / 7 for variance in tasks)
        expected = 0.0076995 * math.sqrt(8 / 7) * stats.t.ppf(0.975, freedom)
        assert found.interval.half_width == pytest.approx(expected, rel=0.04)
        # Its percentile interval is narrower, as it takes the sample's spread for the true one.
        assert found.interval.half_width > (0.795875 - 0.766125) / 2

    def test_probability_of_improvement(self) -> None:
        found = probability_of_improvement(A, B)
        assert found.value == pytest.approx(0.236328125)
        # Where seeds overlap, its percentile bootstrap is about as wide: 0.121 to 0.359.
        assert found.interval is not None
        assert found.interval.low == pytest.approx(0.121, abs=0.04)
        assert found.interval.high == pytest.approx(0.359, abs=0.04)


def test_interquartile_mean_is_the_trimmed_mean_of_scipy() -> None:
    x = np.random.default_rng(0).normal(size=(6, 4))
    assert interquartile_mean(x).value == pytest.approx(stats.trim_mean(x, 0.25, axis=None))


def test_every_task_weighs_the_same_however_many_seeds_it_has() -> None:
    once, thrice = [[0.0, 1, 2, 3], [10, 11]], [[0.0, 1, 2, 3] * 3, [10, 11]]
    assert interquartile_mean(once).value == pytest.approx(interquartile_mean(thrice).value)
    # The upper half of one task, by weight, and the lower one of the other.
    assert interquartile_mean(once).value == pytest.approx((2.5 + 10) / 2)


def test_probability_of_improvement_is_mann_and_whitneys_u() -> None:
    rng = np.random.default_rng(0)
    a, b = [rng.integers(5, size=4) for _ in range(3)], [rng.integers(5, size=6) for _ in range(3)]
    u = [stats.mannwhitneyu(x, y).statistic / 24 for x, y in zip(a, b, strict=True)]
    assert probability_of_improvement(a, b).value == pytest.approx(np.mean(u))
    assert probability_of_improvement(b, a).value == pytest.approx(1 - np.mean(u))


def test_an_arm_ahead_with_every_seed_has_an_interval_all_the_same() -> None:
    ahead, behind = [[2, 3, 4]] * 2, [[0, 1, 1.5]] * 2
    found, other = (
        probability_of_improvement(ahead, behind),
        probability_of_improvement(behind, ahead),
    )
    assert found.value == 1
    assert found.interval is not None
    assert other.interval is not None
    assert found.interval.high == 1
    assert 0.4 < found.interval.low < 0.9
    assert other.interval.high == pytest.approx(1 - found.interval.low)


def test_one_seed_has_no_interval() -> None:
    assert interquartile_mean([[1.0], [2.0, 3.0]]).interval is None
    assert probability_of_improvement([[1.0]], [[0.0, 2.0]]).interval is None


@pytest.mark.parametrize(("tasks", "seeds", "levels"), [(4, 3, 0.0), (4, 3, 0.3), (6, 5, 0.3)])
def test_intervals_of_the_interquartile_mean_hold_it_95_times_in_100(
    tasks: int, seeds: int, levels: float
) -> None:
    rng = np.random.default_rng(0)
    means, spreads = 0.6 + levels * np.linspace(0, 1, tasks), np.linspace(0.005, 0.02, tasks)

    def draw() -> np.ndarray:
        return rng.normal(means, spreads, size=(seeds, tasks)).T

    true = np.mean([interquartile_mean(draw(), resamples=1).value for _ in range(2000)])
    found = [interquartile_mean(draw(), resamples=200).interval for _ in range(250)]
    held = np.mean([one.low <= true <= one.high for one in found if one])
    assert 0.93 - 2 * math.sqrt(0.05 * 0.95 / 250) < held < 0.99


def test_the_percentile_bootstrap_does_not_as_the_docstring_says() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        x = rng.normal(size=(4, 3))
        draws = np.take_along_axis(x[None], rng.integers(3, size=(500, 4, 3)), axis=2)
        means = stats.trim_mean(draws.reshape(500, 12), 0.25, axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        held.append(low <= 0 <= high)
    assert 0.80 < np.mean(held) < 0.92


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_intervals_of_the_probability_hold_it_95_times_in_100(shift: float) -> None:
    rng = np.random.default_rng(0)
    true = stats.norm.cdf(shift / math.sqrt(2))
    found = [
        probability_of_improvement(rng.normal(shift, size=(3, 3)), rng.normal(size=(3, 3))).interval
        for _ in range(250)
    ]
    held = np.mean([one.low <= true <= one.high for one in found if one])
    assert 0.93 - 2 * math.sqrt(0.05 * 0.95 / 250) < held < 0.995


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], "no task"),
        ([[1.0, 2.0]], [[1.0], [2.0]], "1 tasks for 2"),
        ([[1.0], []], [[1.0], [2.0]], "n of at least 1"),
        ([[1.0, math.inf]], [[1.0]], "hold inf"),
    ],
)
def test_what_cannot_be_compared_is_refused(a: list, b: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probability_of_improvement(a, b)
