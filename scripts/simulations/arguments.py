"""Numbers on the command line of a simulation: a wrong one is a line, not a table of nothing."""

import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads a whole number that is no smaller."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number, {least} or more")
        return number

    return read


def several(least: int) -> Callable[[str], tuple[int, ...]]:
    """Return what reads whole numbers with commas between them, none smaller."""
    one = at_least(least)

    def read(text: str) -> tuple[int, ...]:
        return tuple(one(part) for part in text.split(","))

    return read


def shares(text: str) -> tuple[float, ...]:
    """Read numbers between 0 and 1 with commas between them."""

    def read(part: str) -> float:
        try:
            number = float(part)
        except ValueError:
            number = -1.0
        if not 0 < number < 1:
            raise argparse.ArgumentTypeError(f"{part}: expected a number between 0 and 1")
        return number

    return tuple(read(part) for part in text.split(","))
