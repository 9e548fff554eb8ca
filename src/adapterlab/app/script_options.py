"""Command lines of the programs in scripts/ that are argparse's: a mistake in one is one line.

As everywhere: what is wrong, the value as it was written, what is allowed, and exit code 2, before
anything is read or computed.
"""

import argparse
from collections.abc import Callable, Iterable
from typing import NoReturn

from adapterlab.app.mistakes import fail
from adapterlab.base.errors import USER_ERROR, allowed

_UNKNOWN = "unrecognized arguments: "


class Parser(argparse.ArgumentParser):
    """Ends the program by one line, where argparse's own prints how it is called as well."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with a command line, and end."""
        said = message.removeprefix("argument ")
        if message.startswith(_UNKNOWN):
            given = message.removeprefix(_UNKNOWN).split()[0]
            names = [name for action in self._actions for name in action.option_strings]
            known = (name for name in names if name.startswith("--"))
            said = f"{given} is not an option; {allowed(given, known)}"
        fail(said, USER_ERROR)


def names_of(options: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what reads names with commas between them, each one of these."""
    known = tuple(options)

    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}; {allowed(name, known)}")
        return names

    return read


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


def positive(text: str) -> float:
    """Read a number above 0."""
    number = _number(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return number


def share(text: str) -> float:
    """Read a number from 0 on and below 1."""
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 on, below 1")
    return number


def shares(text: str) -> tuple[float, ...]:
    """Read numbers between 0 and 1 with commas between them."""

    def read(part: str) -> float:
        number = _number(part)
        if not 0 < number < 1:
            raise argparse.ArgumentTypeError(f"{part}: expected a number between 0 and 1")
        return number

    return tuple(read(part) for part in text.split(","))


def _number(text: str) -> float:
    """Read a number; what is none is one that no comparison holds for."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
