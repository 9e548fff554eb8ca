import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from adapterlab.evidence.crossed import crossed_p
from adapterlab.evidence.power import smallest_detectable_difference, smallest_detectable_shift


def test_golden_value_of_the_table() -> None:
    # In any table of power, 34 pairs find a medium effect, d = .5, 80% of the time.
    assert smallest_detectable_difference(2.0, 34) == pytest.approx(2 * 0.5, abs=0.01)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 100])
@pytest.mark.parametrize(("level", "power"), [(0.05, 0.8), (0.05 / 7, 0.8), (0.01, 0.95)])
def test_power_there_is_that_of_the_noncentral_t(n: int, level: float, power: float) -> None:
    difference = smallest_detectable_difference(1.0, n, level=level, power=power)
    assert difference is not None
    threshold = stats.t.isf(level / 2, n - 1)
    # The lower tail as the upper one of the mirror image: scipy's `cdf` is nan far down there.
    found = sum(stats.nct(n - 1, way * difference * math.sqrt(n)).sf(threshold) for way in (1, -1))
    assert found == pytest.approx(power, abs=1e-5)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_it_is_that_of_statsmodels(n: int) -> None:
    effect = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert smallest_detectable_difference(0.3, n) == pytest.approx(0.3 * effect, rel=1e-4)


def test_a_t_test_finds_it_as_often_as_it_says() -> None:
    difference = smallest_detectable_difference(2.0, 5, power=0.8)
    x = np.random.default_rng(0).normal(difference, 2.0, size=(20_000, 5))
    found = stats.ttest_1samp(x, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 20_000))


@pytest.mark.parametrize("examples_error", [0.2, 1.0, 5.0])
def test_all_tests_find_it_as_often_as_it_says(examples_error: float) -> None:
    n, studies = 5, 5000
    shift = smallest_detectable_shift(2 / math.sqrt(n), n - 1, examples_error=examples_error)
    rng = np.random.default_rng(0)
    # One test split for all seeds of a study, so its luck is the same in each of them.
    luck = rng.normal(0, examples_error, size=(studies, 1))
    x = shift + luck + rng.normal(0, 2.0, size=(studies, n))
    over_seeds = stats.ttest_1samp(x, 0, axis=1).pvalue < 0.05
    over_examples = np.abs(x.mean(axis=1)) / examples_error > stats.norm.isf(0.025)
    over_both = [
        crossed_p(
            one.mean(),
            seeds_error=one.std(ddof=1) / math.sqrt(n),
            freedom=n - 1,
            examples_error=examples_error,
        )
        < 0.05
        for one in x
    ]
    found = (over_seeds & over_examples & over_both).mean()
    assert found == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / studies))


def test_without_spread_anything_is_seen_and_one_pair_sees_nothing() -> None:
    assert smallest_detectable_difference(0.0, 3) == 0
    assert smallest_detectable_difference(1.0, 1) is None


def test_examples_alone_leave_a_normal_test() -> None:
    assert smallest_detectable_shift(0.0, 4, examples_error=0.5) == pytest.approx(
        0.5 * (1.95996 + 0.84162), rel=1e-4
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 0.0}, "level is 0.0; expected above 0, below 1"),
        ({"power": 1.0}, "power is 1.0; expected above the level, 0.05, and below 1"),
        ({"power": 0.05}, "power is 0.05"),
        ({"deviation": -1.0}, "expected errors from 0"),
        ({"deviation": math.nan}, "expected errors from 0"),
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        smallest_detectable_difference(**{"deviation": 1.0, "n": 3, **options})
