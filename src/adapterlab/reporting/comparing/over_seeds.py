"""An arm's final figures and its curves, over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from adapterlab.evidence.intervals import Interval
from adapterlab.reporting.findings import Curve, Estimate, estimate


def figure_of(name: str, values: Sequence[float]) -> Estimate | None:
    """Return mean and interval of a final metric; that of an accuracy lies within 0 and 1."""
    found = estimate(values)
    if found is None or found.interval is None or "accuracy" not in name:
        return found
    low, high = max(found.interval.low, 0.0), min(found.interval.high, 1.0)
    return replace(found, interval=Interval(low, high))


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
