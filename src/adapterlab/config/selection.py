"""On what an epoch is chosen: a metric of validation, or the F1 of one class."""

from typing import Annotated

from pydantic import AfterValidator

SELECTABLE = ("accuracy", "macro_f1", "mcc", "balanced_accuracy", "loss")
"""What every epoch is measured by."""

F1 = "f1/"
"""What the F1 of a class begins with; its name follows, as in names of metrics."""


def _of_a_class(value: str) -> str:
    if not value.removeprefix(F1) or not value.startswith(F1):
        raise ValueError(f"{', '.join(map(repr, SELECTABLE))}, or 'f1/CLASS' of a class")
    return value


ClassF1 = Annotated[str, AfterValidator(_of_a_class)]
