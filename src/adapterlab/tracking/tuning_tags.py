"""The tags by which the tuned sweeper's runs say what they were tuned for, and what was chosen.

A tuning run has ``trial.*``, a compared run ``tuned.*``: its options by name, and what follows.
"""

from collections.abc import Mapping

ARM, KEY, GRID, AT = "arm", "key", "grid", "at"
"""The arm as it was written; what tells it from others; the grid; when was chosen last."""

CHOSEN = "chosen"
"""Of tuning runs only: ``true`` for those of the setting that their arm is run with."""

STUDY, TRIALS, SEEDS, EDGE, SUPERSEDED = "study", "trials", "seeds", "edge", "superseded"
"""Of compared runs only: the tuning study, its runs and seeds an arm, a best value at the edge of
what was tried, and the choice that has replaced this one."""

PRUNED = "pruned"
"""Of a tuning run that a pruner has stopped: by which rule, and after which epoch. Of a compared
run: how many of its arm's tuning runs."""

PRUNED_EPOCH, PRUNED_BEST = "trial/pruned_epoch", "trial/best"
"""Metrics of a tuning run that was stopped: after which epoch, and its best value until then."""

_ABOUT = {ARM, KEY, GRID, AT, CHOSEN, STUDY, TRIALS, SEEDS, EDGE, SUPERSEDED, PRUNED}


def study_of_trials(study: str) -> str:
    """Return the name of the study that a study's tuning runs are in."""
    return f"{study}-tuning"


def trial(name: str) -> str:
    """Return the name of a tag of a tuning run."""
    return f"trial.{name}"


def tuned(name: str) -> str:
    """Return the name of a tag of a compared run."""
    return f"tuned.{name}"


def values(tags: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the tuned options of a run, and their values as they were written.

    Args:
        tags: of the run.
        prefix: ``trial`` or ``tuned``.
    """
    own = {n.removeprefix(f"{prefix}."): v for n, v in tags.items() if n.startswith(f"{prefix}.")}
    return {name: value for name, value in sorted(own.items()) if name not in _ABOUT}
