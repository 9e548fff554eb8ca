"""What the splits of a run hold, a sentence each: what `plan=true` says of data that are here."""

from typing import Any

import torch
from torch import Tensor

from adapterlab.config.class_names import quoted
from adapterlab.config.schema import Config
from adapterlab.data.splits import Splits
from adapterlab.data.targets import task_of
from adapterlab.runs.data import RunData
from adapterlab.runs.preprocessing import run_splits

_CLASSES_NAMED = 10
"""The most classes of which each has its number of rows."""


def split_summary(config: Config, data: RunData) -> list[str]:
    """Return a sentence for each split, as the run would cut and limit it."""
    splits: Splits[Any] = data.target
    cut = run_splits(config, config.dataset, splits)
    return [
        f"{name}: {len(split):,} rows, {_labelled(split.labels, splits.classes)}"
        for name, split in zip(("train", "validation", "test"), cut, strict=True)
    ]


def _labelled(labels: Tensor, classes: tuple[str, ...]) -> str:
    task = task_of(labels)
    if task == "regression":
        spread = float(labels.std(correction=0))
        least, most, mean = (float(one) for one in (labels.min(), labels.max(), labels.mean()))
        return f"{least:.4g} to {most:.4g}, mean {mean:.4g}, standard deviation {spread:.4g}"
    several = task == "multi_label"
    counts = labels.sum(0) if several else torch.bincount(labels, minlength=len(classes))
    rows = [int(count) for count in counts]
    if len(classes) <= _CLASSES_NAMED:
        said = ", ".join(f"{quoted(c)} {n:,}" for c, n in zip(classes, rows, strict=True))
    else:
        kind = "labels" if several else "classes"
        said = f"{len(classes)} {kind} of {min(rows):,} to {max(rows):,}"
        if without := rows.count(0):
            said += f", {without} of them without a row"
    if several and (none := int((~labels.any(1)).sum())):
        said += f"; {none:,} without a label"
    return said
