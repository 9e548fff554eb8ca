"""What people write on a command line, as Hydra's grammar takes it."""

from pathlib import Path

REPORT_EXPERIMENT = "tracking_experiment"
"""The report's option for MLflow's experiment: Hydra takes `experiment` for the folder in conf/."""


def for_hydra(argument: str, *, of_report: bool = False) -> str:
    """Return an argument as Hydra takes it.

    A path may begin with a tilde. The report's reference is text, whatever is in it, and its
    `experiment` is that of MLflow.

    Args:
        argument: as the shell left it.
        of_report: of the report.
    """
    if of_report and argument.startswith("experiment="):
        return f"{REPORT_EXPERIMENT}={argument.partition('=')[2]}"
    if of_report and argument.startswith("reference="):
        return f"reference={quoted(argument.partition('=')[2])}"
    return expand_home(argument)


def expand_home(argument: str) -> str:
    """Write ``path=~/images`` in full; a shell leaves a tilde inside a word alone."""
    option, equals, value = argument.partition("=")
    return f"{option}{equals}{Path(value).expanduser()}" if value.startswith("~/") else argument


def quoted(value: str) -> str:
    """Return text in the quotes without which Hydra objects to ``lora rank=4``."""
    in_quotes = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if value in ("", "null") or in_quotes:
        return value
    escaped = value.replace("'", "\\'")
    return f"'{escaped}'"
