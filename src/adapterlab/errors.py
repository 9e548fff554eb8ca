"""Errors for the person at the keyboard: one line, what is wrong, the value, what is allowed."""

from collections.abc import Iterable
from difflib import get_close_matches


class AdapterLabError(Exception):
    """A mistake that the user can mend; the command line prints its text, without a traceback.

    Attributes:
        exit_code: of the command line.
    """

    exit_code = 2


class ConfigError(AdapterLabError):
    """The configuration asks for something that does not exist or does not fit together."""


class DataError(AdapterLabError):
    """A data set is missing, incomplete or corrupt; the text names the file."""


class CheckpointError(AdapterLabError):
    """A checkpoint does not belong to the model that it is being loaded into."""


class RunLostError(AdapterLabError):
    """The process that carried out a run has died; it was no mistake of the user's."""

    exit_code = 1


class NothingFinishedError(AdapterLabError):
    """No run has finished of those that something was to be chosen among."""

    exit_code = 1


def allowed(value: object, options: Iterable[object]) -> str:
    """Say what is allowed, and what was probably meant: ``allowed: a, b (did you mean a?)``."""
    names = [str(option) for option in options]
    close = get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"allowed: {', '.join(names)}{hint}"
