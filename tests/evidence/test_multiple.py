import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from adapterlab.evidence.multiple import holm

p_values = st.lists(st.floats(0, 1), max_size=20)


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        # .01 × 4; .02 × 3; .03 × 2 ties with it; .04 × 1 would fall below.
        ([0.01, 0.04, 0.03, 0.02], [0.04, 0.06, 0.06, 0.06]),
        ([0.9, 0.01, 0.5], [1.0, 0.03, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.0, 1.0], [0.0, 1.0]),
    ],
)
def test_golden_values_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert holm(p) == pytest.approx(adjusted)


@pytest.mark.parametrize("m", [1, 2, 7, 40])
def test_holm_is_that_of_statsmodels(m: int) -> None:
    p = np.random.default_rng(m).beta(0.5, 5, m).tolist()
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


@settings(deadline=None)
@given(p_values, st.randoms())
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p, random) -> None:
    adjusted = holm(p)
    assert [adjusted[i] for i in np.argsort(p, kind="stable")] == sorted(adjusted)
    for raw, one in zip(p, adjusted, strict=True):
        assert raw <= one <= min(1, len(p) * raw) or one == pytest.approx(raw)

    order = random.sample(range(len(p)), len(p))
    assert holm([p[i] for i in order]) == [adjusted[i] for i in order]


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_p_value_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"p is .*; expected 0 to 1"):
        holm([0.5, p])
