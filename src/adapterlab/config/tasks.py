"""What a run learns for each example: one label, several, or a number; and what that hangs on."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator

Task = Literal["single_label", "multi_label", "regression"]

SelectOn = Literal[
    "auto",
    "loss",
    "accuracy",
    "macro_f1",
    "mcc",
    "balanced_accuracy",
    "micro_f1",
    "mean_average_precision",
    "exact_match",
    "r2",
    "pearson",
    "spearman",
    "mae",
    "rmse",
]


@dataclass(frozen=True)
class TaskKind:
    """What is particular to a task.

    Attributes:
        main: the metric of the test split that is shown first, and that arms are compared on
            unless another is named.
        selectable: metrics of an epoch on validation, the usual one to select on first.
        noun: what an example has.
    """

    main: str
    selectable: tuple[SelectOn, ...]
    noun: str


TASKS: Mapping[Task, TaskKind] = MappingProxyType(
    {
        "single_label": TaskKind(
            "accuracy", ("accuracy", "macro_f1", "mcc", "balanced_accuracy", "loss"), "one label"
        ),
        "multi_label": TaskKind(
            "micro_f1",
            ("micro_f1", "macro_f1", "mean_average_precision", "exact_match", "loss"),
            "any number of labels",
        ),
        "regression": TaskKind(
            "r2", ("r2", "pearson", "spearman", "mae", "rmse", "loss"), "a number"
        ),
    }
)


F1 = "f1/"
"""What the F1 of a class begins with; its name follows, as in names of metrics."""


def _of_a_class(value: str) -> str:
    if not value.removeprefix(F1) or not value.startswith(F1):
        usual = ", ".join(map(repr, TASKS["single_label"].selectable))
        raise ValueError(f"{usual}, or 'f1/CLASS' of a class")
    return value


ClassF1 = Annotated[str, AfterValidator(_of_a_class)]
"""The F1 of one class on validation, by which an epoch may be chosen as well."""


def selected_on(task: Task, select_on: str) -> str:
    """Return the metric on validation that epochs are chosen by: ``auto`` is the task's usual."""
    return TASKS[task].selectable[0] if select_on == "auto" else select_on


LOWER_IS_BETTER = ("loss", "mae", "rmse")
"""Of the metrics of an epoch."""


def main_metric(task: str) -> str:
    """Return a task's main metric; that of a run from before there were tasks is accuracy."""
    return next((kind.main for name, kind in TASKS.items() if name == task), "accuracy")
