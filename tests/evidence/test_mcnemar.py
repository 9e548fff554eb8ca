import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from adapterlab.evidence.mcnemar import mcnemar


def answers(only_a: int, only_b: int, both: int = 0) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, False, True], [only_a, only_b, both])
    b = np.repeat([False, True, True], [only_a, only_b, both])
    return a, b


def test_golden_value_by_hand() -> None:
    # Of 5 fair coins, 0 or 1 heads: (1 + 5) / 32, and as many tails.
    found = mcnemar(*answers(4, 1, both=7))
    assert (found.only_a, found.only_b) == (4, 1)
    assert found.p == pytest.approx(12 / 32)
    assert mcnemar(*answers(5, 0)).p == pytest.approx(2 / 32)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 3), (2, 11), (70, 41)])
def test_is_that_of_scipy_and_statsmodels(only_a: int, only_b: int) -> None:
    p = mcnemar(*answers(only_a, only_b, both=5)).p
    if only_a + only_b:
        assert p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    table = [[5, only_a], [only_b, 0]]
    assert p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (np.ones((2, 3), bool), np.ones((2, 3), bool), r"expected bool \[N\]"),
        (np.ones(3), np.ones(3), r"expected bool \[N\]"),
        (np.ones(3, bool), np.ones(4, bool), "3 examples for 4"),
    ],
)
def test_what_does_not_fit_is_refused(a: np.ndarray, b: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        mcnemar(a, b)
