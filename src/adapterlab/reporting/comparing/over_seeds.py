"""An arm's final figures and its curves, over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from adapterlab.evidence.all_metrics import metric as known_metric
from adapterlab.evidence.intervals import Interval
from adapterlab.reporting.findings import Curve, Estimate, estimate


def figure_of(name: str, values: Sequence[float]) -> Estimate | None:
    """Return mean and interval of a final metric; the latter lies within what that may be."""
    found = estimate(values)
    if found is None or found.interval is None:
        return found
    least, most = _may_be(name)
    low, high = max(found.interval.low, least), min(found.interval.high, most)
    return replace(found, interval=Interval(low, high))


def _may_be(name: str) -> tuple[float, float]:
    """Return the least and the most that a final metric may be: ``best/val_macro_f1``."""
    if "accuracy" in name:  # also ``source/accuracy_after``
        return 0.0, 1.0
    known = known_metric(name.partition("/")[2].removeprefix("val_"))
    return (-inf, inf) if known is None else (known.least, known.most)


def curves_of(histories: Sequence[Mapping[int, Mapping[str, float]]]) -> dict[str, Curve]:
    """Return metrics by epoch, by name, of an arm's runs; nan after a run has stopped."""
    epochs = sorted({epoch for history in histories for epoch in history})
    names = sorted({name for history in histories for row in history.values() for name in row})
    return {
        name: Curve(
            tuple(epochs),
            np.array(
                [
                    [history.get(epoch, {}).get(name, np.nan) for epoch in epochs]
                    for history in histories
                ]
            ),
        )
        for name in names
    }
