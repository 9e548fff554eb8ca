"""What people write on a command line, as Hydra's grammar takes it."""

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

REPORT_EXPERIMENT, DEALT_ARM = "tracking_experiment", "arm_name"
"""Options of the report and the self-check: Hydra takes `experiment` and `arm` for folders in
conf/."""


def for_hydra(argument: str, *, of_report: bool = False, of_selfcheck: bool = False) -> str:
    """Return an argument as Hydra takes it.

    A path may begin with a tilde, and words have letters of any alphabet. The names of arms that
    the report and the self-check are given are text, whatever is in them, and their
    `experiment` is that of MLflow.

    Args:
        argument: as the shell left it.
        of_report: of the report.
        of_selfcheck: of the self-check.
    """
    option, equals, value = argument.partition("=")
    option = option.lstrip("+")  # there is nothing to add to: it is one of their own options
    if equals and (of_report or of_selfcheck) and option == "experiment":
        return f"{REPORT_EXPERIMENT}={value}"
    if equals and of_report and option == "reference":
        return f"reference={quoted(value)}"
    if equals and of_selfcheck and option == "arm":
        return f"{DEALT_ARM}={quoted(value)}"
    return quote_letters(expand_home(argument))


def values_of(composed: DictConfig, *, whole: bool = True) -> dict[str, Any]:
    """Return what Hydra composed as plain values, by the names that people write.

    Args:
        composed: options of a program.
        whole: refuse options that are still to be given.

    Raises:
        OmegaConfBaseException: one cannot be looked up, or is missing.
    """
    values: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=whole)
    for taken, written in ((REPORT_EXPERIMENT, "experiment"), (DEALT_ARM, "arm")):
        if taken in values:
            values[written] = values.pop(taken)
    return dict(values)


def expand_home(argument: str) -> str:
    """Write ``path=~/images`` in full; a shell leaves a tilde inside a word alone."""
    option, equals, value = argument.partition("=")
    return f"{option}{equals}{Path(value).expanduser()}" if value.startswith("~/") else argument


def quote_letters(argument: str) -> str:
    """Put quotes around words with letters beyond a to z, which Hydra's grammar has no place for.

    ``column=gefühl``, ``path=/home/Müller/a.csv`` and ``columns=[straße,ort]`` are plain words to
    those who write them. Where there are quotes or signs of the grammar already, nothing is done.
    A study names files, and is refused as it was written.
    """
    option, equals, value = argument.partition("=")
    if option == "study" or value.isascii() or re.search(r"['\"{}()$\\]", value):
        return argument
    words = re.sub(r"[^,\[\]]+", lambda word: _quoted_if_foreign(word[0]), value)
    return f"{option}{equals}{words}"


def _quoted_if_foreign(word: str) -> str:
    return word if word.isascii() else quoted(word.strip())


def quoted(value: str) -> str:
    """Return text in the quotes without which Hydra objects to ``lora rank=4``."""
    in_quotes = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if value in ("", "null") or in_quotes:
        return value
    escaped = value.replace("'", "\\'")
    return f"'{escaped}'"
