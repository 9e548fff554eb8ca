"""What the tests of a study's figures share: studies with costs, and what a figure has drawn."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from synthetic import Made, study
from test_pictures import written

from adapterlab.reporting.findings import Findings

REFERENCE = "\N{BLACK DIAMOND}"
STRATEGIES = ("full", "head", "lora", "dora", "bitfit", "last_layers")


def costs(step: float, *, packed: bool = False) -> dict[str, float]:
    time = "cost/lane_seconds" if packed else "cost/train_seconds"
    memory = "cost/pack_peak_memory_mib" if packed else "cost/peak_memory_mib"
    return {
        "params/trainable": 1000 * 2**step,
        "cost/adapter_bytes": 4096 * 2**step,
        time: 3 + step,
        memory: 800 + step,
        "source/accuracy_before": 0.9,
        "source/accuracy_after": 0.9 - 0.02 * step,
        "test/ece": 0.02,
    }


def many(n: int, seeds: int, name: str, classes: int) -> Findings:
    made = [
        Made(
            name.format(strategy=STRATEGIES[i % 6], i=i),
            0.6 + 0.3 * i / n,
            seeds,
            params={"adapter.rank": str(2 ** (i % 4)), "adapter.alpha": str(1 + i // 4)},
            metrics=costs(10 * i / n, packed=n > 20),
        )
        for i in range(n)
    ]
    return study(*made, classes=[f"some class {i}" for i in range(classes)])


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def texts(figure: Figure | None) -> list[str]:
    return [text for text, _ in written(drawn(figure))]


def marks(axes: Axes, size: float) -> list[tuple[float, float]]:
    """All (x, y) of marks of a size."""
    lines = [
        line.get_xydata()
        for line in axes.lines
        if line.get_markersize() == size and line.get_marker() not in ("", "None")
    ]
    return [(round(float(x), 6), round(float(y), 6)) for x, y in np.concatenate(lines)]
