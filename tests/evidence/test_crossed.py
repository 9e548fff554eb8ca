import math

import numpy as np
import pytest
from scipy import stats

from adapterlab.evidence.crossed import crossed_p


def test_golden_value_by_hand() -> None:
    # Errors 3 and 4 make 5; of 8 degrees, 8 · (25 / 9)² = 61.7 are left; t = 10 / 5.
    p = crossed_p(-10, seeds_error=3, freedom=8, examples_error=4)
    assert p == pytest.approx(2 * stats.t.sf(2, 8 * 625 / 81))


def test_with_one_error_it_is_the_test_of_that_error() -> None:
    assert crossed_p(2, seeds_error=1, freedom=4, examples_error=0) == pytest.approx(
        2 * stats.t.sf(2, 4)
    )
    assert crossed_p(2, seeds_error=0, freedom=4, examples_error=1) == pytest.approx(
        2 * stats.norm.sf(2)
    )
    assert crossed_p(2, seeds_error=0, freedom=4, examples_error=0) == 0
    assert crossed_p(0, seeds_error=0, freedom=4, examples_error=0) == 1


@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.7])
def test_it_keeps_to_5_in_100_where_the_two_tests_do_not(ratio: float) -> None:
    n, studies = 20, 4000
    rng = np.random.default_rng(0)
    # One test split for all seeds of a study; its error is `ratio` times that of the seeds.
    examples_error = ratio / math.sqrt(n)
    luck = rng.normal(0, examples_error, size=(studies, 1))
    x = luck + rng.normal(size=(studies, n))
    means, errors = x.mean(axis=1), x.std(axis=1, ddof=1) / math.sqrt(n)
    two = (np.abs(means) / errors > stats.t.isf(0.025, n - 1)) & (
        np.abs(means) / examples_error > stats.norm.isf(0.025)
    )
    crossed = np.array(
        [
            crossed_p(mean, seeds_error=error, freedom=n - 1, examples_error=examples_error) < 0.05
            for mean, error in zip(means, errors, strict=True)
        ]
    )
    noise = 3 * math.sqrt(0.05 * 0.95 / studies)
    assert two.mean() > 0.05 + noise
    assert (two & crossed).mean() < 0.05 + noise
