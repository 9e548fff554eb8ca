"""Small files of the tasks of GLUE: the columns, names of classes and labels that the hub has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS: dict[str, tuple[str, ...]] = {
    "mnli": ("premise", "hypothesis"),
    "qqp": ("question1", "question2"),
    "qnli": ("question", "sentence"),
    "sst2": ("sentence",),
    "mrpc": ("sentence1", "sentence2"),
    "cola": ("sentence",),
    "rte": ("sentence1", "sentence2"),
    "wnli": ("sentence1", "sentence2"),
    "stsb": ("sentence1", "sentence2"),
}
"""Of each folder, the texts."""

CLASSES: dict[str, tuple[str, ...]] = {
    "mnli": ("entailment", "neutral", "contradiction"),
    "qqp": ("not_duplicate", "duplicate"),
    "qnli": ("entailment", "not_entailment"),
    "sst2": ("negative", "positive"),
    "mrpc": ("not_equivalent", "equivalent"),
    "cola": ("unacceptable", "acceptable"),
    "rte": ("entailment", "not_entailment"),
    "wnli": ("not_entailment", "entailment"),
    "stsb": (),
}
"""Of each, in the order of the labels; of numbers there are none."""

_WORDS = ("red", "green", "blue", "small", "large", "old", "new", "warm")


def examples(task: str, rows: int, first: int) -> dict[str, list[Any]]:
    """Return columns of sentences whose words tell the class, most of the time."""
    labels = [(row + row // 7) % (len(CLASSES[task]) or 6) for row in range(rows)]
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(COLUMNS[task]):
        columns[name] = [
            f"number {first + row} is {_WORDS[(first + row * (place + 1)) % 8]}"
            f"{' and ' + _WORDS[label] if place else ' ' + _WORDS[label]}"
            for row, label in enumerate(labels)
        ]
    numbers = [0.9 * label for label in labels]
    return {**columns, "label": labels if CLASSES[task] else numbers, "idx": list(range(rows))}


def write_glue(folder: Path, tasks: Sequence[str] = tuple(COLUMNS), rows: int = 60) -> Path:
    """Write the tasks into a folder as `datasets` would; the labels of tests are -1, as there."""
    for task in tasks:
        (folder / task).mkdir(parents=True, exist_ok=True)
        ends = ("_matched", "_mismatched") if task == "mnli" else ("",)
        sizes = {"train": rows, **{f"{split}{end}": 24 for split in ("validation", "test")
                                   for end in ends}}  # fmt: skip
        for number, (split, size) in enumerate(sizes.items()):
            columns = examples(task, size, 1000 * number)
            if split.startswith("test"):
                columns["label"] = [-1] * size
            write_table(folder / task / f"{split}.parquet", columns, CLASSES[task])
    return folder


def write_table(path: Path, columns: dict[str, list[Any]], classes: Sequence[str]) -> None:
    """Write parquet that states the names of the classes, as files of the hub do."""
    import datasets

    features = datasets.Features(
        {
            name: datasets.ClassLabel(names=list(classes))
            if name == "label" and classes
            else datasets.Value({"idx": "int32", "label": "float32"}.get(name, "string"))
            for name in columns
        }
    )
    schema = features.arrow_schema
    pq.write_table(pa.table(columns, schema=schema), path)
