"""A simulation asked for a wrong number says so, and writes no table of nothing."""

import argparse

import pytest
from arguments import at_least, several, shares


def test_numbers_are_read() -> None:
    assert at_least(2)("2") == 2
    assert several(1)("1,50") == (1, 50)
    assert shares("0.5,0.97") == (0.5, 0.97)


@pytest.mark.parametrize("text", ["1", "-3", "x", "2.5", ""])
def test_what_is_no_number_or_too_small_is_refused(text: str) -> None:
    for read in (at_least(2), several(2)):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number, 2 or more"):
            read(text)


@pytest.mark.parametrize("text", ["0", "1", "nan", "half"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"{text}: expected a number between"):
        shares(f"0.5,{text}")
