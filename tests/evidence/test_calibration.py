import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterlab.evidence.calibration import Bin, reliability
from adapterlab.evidence.metrics import expected_calibration_error

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_golden_values_by_hand() -> None:
    confidence = np.array([0.0, 0.5, 0.75, 1.0])
    correct = np.array([False, True, True, False])
    assert reliability(confidence, correct, bins=3) == [
        Bin(low=0, high=1 / 3, count=1, confidence=0, accuracy=0),
        Bin(low=1 / 3, high=2 / 3, count=1, confidence=0.5, accuracy=1),
        Bin(low=2 / 3, high=1, count=2, confidence=0.875, accuracy=0.5),
    ]


def test_a_bin_is_closed_on_the_right_and_may_be_empty() -> None:
    lower, upper = reliability(np.array([0.5]), np.array([True]), bins=2)
    assert lower.count == 1
    assert (upper.count, upper.confidence, upper.accuracy, upper.gap) == (0, None, None, 0)


@settings(deadline=None)
@given(answers, st.integers(1, 30))
def test_every_example_is_in_its_bin_and_the_gaps_add_up_to_the_ece(answers, bins: int) -> None:
    confidence, correct = map(np.array, zip(*answers, strict=True))
    found = reliability(confidence, correct, bins=bins)

    assert len(found) == bins
    assert (found[0].low, found[-1].high) == (0, 1)
    assert [one.high for one in found[:-1]] == [one.low for one in found[1:]]
    for one in found:
        inside = (confidence > one.low) & (confidence <= one.high)
        if one is found[0]:
            inside |= confidence == 0
        assert one.count == inside.sum()
        if one.count:
            assert one.confidence == pytest.approx(confidence[inside].mean())
            assert one.accuracy == pytest.approx(correct[inside].mean())

    ece = sum(one.count / len(correct) * abs(one.gap) for one in found)
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(ece)


@pytest.mark.parametrize(
    ("confidence", "correct", "bins", "message"),
    [
        (np.ones(3), np.ones(2, bool), 10, r"\(3,\) for \(2,\) answers"),
        (np.ones((2, 2)), np.ones((2, 2), bool), 10, r"expected \[N\]"),
        (np.ones(2), np.ones(2, bool), 0, "bins is 0; expected at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(confidence, correct, bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reliability(confidence, correct, bins=bins)
