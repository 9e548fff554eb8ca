"""What examples are labelled with: the form of a split's labels says which task they are for."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import torch
from torch import Tensor

from adapterlab.base.errors import DataError
from adapterlab.config.tasks import Task


def task_of(labels: Tensor) -> Task:
    """Return the task that labels are for.

    They are int64 ``[N]``, class indices from 0; bool ``[N, C]``, whether each example has each of
    C labels; or float64 ``[N]``, numbers.

    Raises:
        DataError: they are of another form.
    """
    if labels.dtype == torch.int64 and labels.ndim == 1:
        return "single_label"
    if labels.dtype == torch.bool and labels.ndim == 2:
        return "multi_label"
    if labels.dtype == torch.float64 and labels.ndim == 1:
        return "regression"
    raise DataError(
        f"labels are {labels.dtype} {tuple(labels.shape)}; allowed: int64 [N], bool [N,C] or "
        "float64 [N]"
    )


@dataclass(frozen=True)
class Scale:
    """How numbers are learnt: ``z = (y - mean) / deviation``, of the training rows.

    Attributes:
        mean: that is taken off.
        deviation: that is divided by, above 0.
    """

    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, labels: Tensor, *, standardize: bool) -> "Scale":
        """Return the scale of training rows; that of classes, or of equal numbers, changes none.

        Args:
            labels: of the training rows.
            standardize: whether numbers are to be learnt in standard deviations.
        """
        if not standardize or task_of(labels) != "regression":
            return cls()
        deviation = float(labels.std(correction=0))
        return cls(float(labels.mean()), deviation) if deviation > 0 else cls()

    def learnt(self, numbers: Tensor) -> Tensor:
        """Return numbers as a model learns them."""
        return (numbers - self.mean) / self.deviation

    def told(self, outputs: Tensor) -> Tensor:
        """Return a model's outputs as numbers of the data set's unit."""
        return outputs * self.deviation + self.mean


def as_classes(labels: Tensor) -> Tensor:
    """Number labels so that equal ones have one number, int64 ``[N]``; class indices stay."""
    if task_of(labels) == "single_label":
        return labels
    numbers: Tensor = torch.unique(labels, dim=0, return_inverse=True)[1]
    return numbers


def as_parts(labels: Tensor) -> Tensor:
    """Return what a cut is stratified by, int64 ``[N]``: classes; of others nothing, all alike."""
    if task_of(labels) == "single_label":
        return labels
    return torch.zeros(len(labels), dtype=torch.int64)


def require_labels(labels: Tensor, examples: Sized, noun: str) -> None:
    """Refuse labels that do not fit the examples, of which there has to be one.

    Raises:
        DataError: they do not; of numbers, also one that is not finite.
    """
    task = task_of(labels)
    if len(examples) != len(labels):
        raise DataError(f"{len(examples)} {noun} but {len(labels)} labels")
    if not len(labels):
        raise DataError(f"a split without {noun}; each split needs at least one")
    if task == "single_label" and (lowest := int(labels.min())) < 0:
        raise DataError(f"label {lowest} is negative; labels count from 0")
    if task == "regression" and not bool(labels.isfinite().all()):
        raise DataError(f"labels hold {float(labels[~labels.isfinite()][0])}, which is no number")


def require_named(name: str, labels: Tensor, classes: Sequence[str]) -> None:
    """Refuse labels that have no name.

    Raises:
        DataError: there are such; names the split.
    """
    task = task_of(labels)
    if task == "multi_label" and labels.shape[1] != len(classes):
        raise DataError(f"{name} has {labels.shape[1]} labels for {len(classes)} names")
    if task == "single_label" and (highest := int(labels.max())) >= len(classes):
        raise DataError(
            f"{name} has label {highest}; allowed: 0 to {len(classes) - 1} ({len(classes)} classes)"
        )


def counts_of(labels: Tensor, classes: int) -> Tensor:
    """Count the examples of each class, or with each label, int64 ``[C]``."""
    if task_of(labels) == "multi_label":
        return labels.sum(0)
    return torch.bincount(labels, minlength=classes)


def called(label: Tensor, classes: Sequence[str]) -> str:
    """Write what one example is labelled with, for a sentence."""
    if label.dtype == torch.float64:
        return f"{float(label):g}"
    if label.dtype == torch.bool:
        return ", ".join(classes[i] for i in label.nonzero().flatten().tolist()) or "none"
    return classes[int(label)]
