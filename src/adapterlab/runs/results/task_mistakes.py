"""What a model gets wrong where an example has several labels, or a number: tables to work with."""

from pathlib import Path
from typing import Any

import numpy as np

from adapterlab.base.csv_cells import write_rows
from adapterlab.data.origin import RowNames
from adapterlab.data.splits import ImageSplit, TextSplit
from adapterlab.evidence.multi_label import answered
from adapterlab.training.predictions import Predictions
from adapterlab.training.task_predictions import LabelPredictions, NumberPredictions


def write_task_mistakes(
    folder: Path,
    test: Predictions,
    examples: TextSplit | ImageSplit,
    *,
    rows: RowNames,
    top: int = 50,
) -> list[Path]:
    """Write the mistakes of a model on a test split.

    Of several labels ``per_label.csv`` (examples with it, answers of it, those of both, precision,
    recall and F1; least F1 first) and ``most_wrong.csv`` (examples with most labels wrong, with
    what is missing and what is too much); of numbers ``most_wrong.csv``, the largest errors first.

    Args:
        folder: created if need be; files of these names are replaced.
        test: of the split's examples, in its order.
        examples: the split.
        rows: what the file calls the examples.
        top: the most examples to list.

    Returns:
        The files.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = examples.texts if isinstance(examples, TextSplit) else None
    called = rows.columns()
    tables: dict[str, list[tuple[Any, ...]]] = {}
    if isinstance(test, LabelPredictions):
        said = answered(test.logits, test.limits())
        tables["per_label.csv"] = _per_label(test, said)
        errors = (said != test.labels).sum(1)
        header: tuple[str, ...] = ("wrong", "missing", "too_much")
        details = [
            (
                int(errors[i]),
                _named(test, test.labels[i] & ~said[i]),
                _named(test, said[i] & ~test.labels[i]),
            )
            for i in range(len(errors))
        ]
    else:
        assert isinstance(test, NumberPredictions)
        errors = np.abs(test.said - test.labels)
        header = ("true", "predicted", "error")
        details = [
            (t, p, p - t) for t, p in zip(test.labels.tolist(), test.said.tolist(), strict=True)
        ]
    worst = [int(i) for i in np.argsort(-errors, kind="stable")[:top] if errors[i] > 0]
    tables["most_wrong.csv"] = [
        (*called, *header, *(() if texts is None else ("text",))),
        *(
            (*(v[i] for v in called.values()), *details[i], *(() if texts is None else (texts[i],)))
            for i in worst
        ),
    ]
    for name, table in tables.items():
        write_rows(table, folder / name)
    return [folder / name for name in tables]


def _named(test: LabelPredictions, chosen: Any) -> str:
    return ", ".join(test.classes[i] for i in np.flatnonzero(chosen))


def _per_label(test: LabelPredictions, said: Any) -> list[tuple[Any, ...]]:
    lines = []
    for i, name in enumerate(test.classes):
        there, answers = int(test.labels[:, i].sum()), int(said[:, i].sum())
        both = int((test.labels[:, i] & said[:, i]).sum())
        shares = _share(both, answers), _share(both, there), _share(2 * both, there + answers)
        lines.append((name, there, answers, both, *shares))
    lines.sort(key=lambda line: line[-1] if line[-1] != "" else 2)
    header = ("label", "examples", "answers", "right", "precision", "recall", "f1")
    return [header, *lines]


def _share(part: int, whole: int) -> float | str:
    return part / whole if whole else ""
