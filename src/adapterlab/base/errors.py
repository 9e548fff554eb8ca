"""Errors for the person at the keyboard: one line, what is wrong, the value, what is allowed."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

USER_ERROR = 2
"""The exit code after a mistake of the user's."""


class AdapterLabError(Exception):
    """A mistake that the user can mend; the command line prints its text, without a traceback.

    Attributes:
        exit_code: of the command line.
    """

    exit_code = USER_ERROR


class ConfigError(AdapterLabError):
    """The configuration asks for something that does not exist or does not fit together."""


class DataError(AdapterLabError):
    """A data set is missing, incomplete or corrupt; the text names the file."""


class CheckpointError(AdapterLabError):
    """A checkpoint does not belong to the model that it is being loaded into."""


class RunHeldError(AdapterLabError):
    """Another process is at a run, and holds its folder."""


class RunLostError(AdapterLabError):
    """The process that carried out a run has died; it was no mistake of the user's."""

    exit_code = 1


class NothingFinishedError(AdapterLabError):
    """No run has finished of those that something was to be chosen among."""

    exit_code = 1


class TrialPrunedError(AdapterLabError):
    """A pruner has stopped a run that its rivals are ahead of; nothing has gone wrong.

    Attributes:
        rule: of the pruner.
        epoch: after which it was stopped.
        epochs: that it would have had.
        best: its best value of the metric that is selected on, so far.
    """

    exit_code = 1

    def __init__(self, rule: str, epoch: int, epochs: int, best: float) -> None:
        super().__init__(rule, epoch, epochs, best)  # by which it is pickled
        self.rule, self.epoch, self.epochs, self.best = rule, epoch, epochs, best

    def __str__(self) -> str:
        return f"pruned by {self.rule} after epoch {self.epoch} of {self.epochs}"


class MemoryLackError(AdapterLabError):
    """Memory has run out; something smaller needs less."""

    exit_code = 1


def allowed(value: object, options: Iterable[object]) -> str:
    """Say what is allowed, and what was probably meant: ``allowed: a, b (did you mean a?)``."""
    names = [str(option) for option in options]
    close = get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"allowed: {', '.join(names) or 'none'}{hint}"


def went_wrong(outcome: object) -> bool:
    """Say whether what came of a run is a failure; one that was pruned has not failed."""
    return isinstance(outcome, BaseException) and not isinstance(outcome, TrialPrunedError)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its type where it says nothing."""
    return _said(error) or type(error).__name__


def with_type(error: BaseException) -> str:
    """Return an error's type, and the first line of what it says."""
    return f"{type(error).__name__}: {_said(error)}"


def out_of_memory(error: BaseException) -> str | None:
    """Say that memory has run out, and for what; None if an error means something else."""
    text = str(error)
    if not isinstance(error, MemoryError) and not re.search(
        r"can't allocate memory|out of memory|Unable to allocate", text, re.IGNORECASE
    ):
        return None
    asked = ""
    if size := re.search(r"allocate (\d+) bytes", text):
        asked = f": {int(size[1]) / 2**30:,.2f} GiB more were asked for"
    elif size := re.search(r"allocate ([\d.]+ [KMGTPE]iB)", text):
        asked = f": {size[1]} more were asked for"
    return f"out of memory{asked}; a smaller batch_size, model or adapter needs less"


def _said(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
