"""Rounding makes no difference out of none, and none out of a difference."""

import pytest

from adapterlab.evidence.intervals import Interval
from adapterlab.reporting.findings import Estimate
from adapterlab.reporting.formatting import confident, ends, p_value, percent, with_interval


@pytest.mark.parametrize(
    ("p", "level", "text"),
    [
        *((0.0496, 0.05, "0.0496"), (0.0504, 0.05, "0.0504"), (0.05, 0.05, "0.05")),
        *((0.04, 0.05, "0.04"), (0.0396, 0.04, "0.0396"), (0.0496, 0.04, "0.05")),
        *((0.0004, 0.05, "<0.001"), (0.0004, 0.0005, "0.0004"), (0.0999, 0.05, "0.1")),
    ],
)
def test_a_p_is_on_its_side_of_the_level(p: float, level: float, text: str) -> None:
    """0.05 was written for 0.0496 of a difference and for 0.0504 of none."""
    assert p_value(p, level) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.00003, 0.024, "+0.003 to +2.40"),
        (-0.00003, 0.024, "-0.003 to +2.40"),
        (-0.024, -0.00003, "-2.40 to -0.003"),
        (-0.004998, 0.004998, "-0.4998 to +0.4998"),
        (-0.005002, 0.004998, "-0.5002 to +0.4998"),
        (0.0, 0.005, "0.00 to +0.50"),
        (-1e-17, 0.01, "0.00 to +1.00"),
        (-0.012, 0.034, "-1.20 to +3.40"),
    ],
)
def test_ends_are_on_their_sides_of_nothing_and_of_the_margin(
    low: float, high: float, text: str
) -> None:
    """Better was 0.00 to +2.40, undecided as well."""
    assert ends(Interval(low, high), "accuracy", 0.005) == text


def test_ends_of_what_is_no_share() -> None:
    assert ends(Interval(0.00002, 0.01), "nll", 0.005) == "+0.00002 to +0.0100"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100.00%"),
        (0.99998, "99.998%"),
        (0.0, "0.00%"),
        (1e-5, "0.001%"),
        (1 - 1e-16, "100.00%"),
    ],
)
def test_what_is_not_all_is_not_100_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_an_interval_that_is_not_empty_does_not_look_so() -> None:
    one = Estimate((1.0, 1.0), 1.0, 0.0, Interval(0.99997, 1.0))
    assert with_interval(one) == "100.00% (99.997 to 100.00)"


@pytest.mark.parametrize(
    ("level", "text"), [(0.05, "95%"), (0.0004, "99.96%"), (1e-5, "99.999%"), (0.5, "50%")]
)
def test_no_test_is_sure(level: float, text: str) -> None:
    """At a look of 0.0004 it was 100% confidence."""
    assert confident(level) == text
