"""What is measured of an epoch because it is chosen by it: the F1 of one class."""

from collections.abc import Sequence

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.config.tasks import F1
from adapterlab.evidence.metrics import metric_names


def watched(select_on: str, classes: Sequence[str]) -> dict[str, int]:
    """Return the class whose F1 is asked for, by the name of the metric; nothing if none is.

    Args:
        select_on: of the run.
        classes: the class names.

    Raises:
        ConfigError: there is no such class.
    """
    if not select_on.startswith(F1):
        return {}
    names = [f"{F1}{name}" for name in metric_names(classes)]
    if select_on not in names:
        raise ConfigError(f"select_on={select_on} is no metric; {allowed(select_on, names)}")
    return {select_on: names.index(select_on)}
