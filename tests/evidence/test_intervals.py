import math

import numpy as np
import pytest
from scipy import stats

from adapterlab.evidence.intervals import (
    Interval,
    mean_and_deviation,
    t_interval,
)


def test_golden_values_by_hand() -> None:
    # Squared deviations from 2 are 1, 0 and 1, over n - 1 = 2; t(.975, 2) is 4.3027 in any table.
    assert mean_and_deviation([1, 2, 3]) == (2, 1)
    interval = t_interval([1, 2, 3])
    assert interval is not None
    assert interval.low == pytest.approx(2 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert interval.half_width == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("n", [2, 3, 30])
def test_t_interval_is_that_of_scipy(n: int, level: float) -> None:
    x = np.random.default_rng(n).normal(5, 2, n)
    expected = stats.ttest_1samp(x, 0).confidence_interval(level)
    interval = t_interval(x, level=level)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_one_value_has_no_spread_and_equal_values_have_none_to_see() -> None:
    assert mean_and_deviation([0.5]) == (0.5, None)
    assert t_interval([0.5]) is None
    assert t_interval([0.5, 0.5]) == Interval(0.5, 0.5)


@pytest.mark.parametrize("n", [3, 5])
def test_95_of_100_t_intervals_of_normal_values_hold_the_mean(n: int) -> None:
    rng = np.random.default_rng(n)
    intervals = [t_interval(rng.normal(3, 2, n)) for _ in range(4000)]
    covered = np.mean([one.low <= 3 <= one.high for one in intervals if one])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 4000))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, r"\(0,\); expected \[n\] with n of at least 1"),
        ([[1, 2]], {}, r"\(1, 2\)"),
        ([1, math.nan], {}, "hold nan; expected finite"),
        ([1, 2], {"level": 95}, "level is 95; expected above 0, below 1"),
    ],
)
def test_what_is_no_sample_is_refused(values: list, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        t_interval(values, **options)
