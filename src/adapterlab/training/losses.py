"""What a model is trained to make small: cross-entropy, weighted by class or focused; or others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.config.schema import Config
from adapterlab.config.tasks import Task
from adapterlab.data.targets import Scale, task_of


@dataclass(frozen=True)
class TrainingLoss:
    """A loss of logits and labels, alone and for each lane of a pack.

    Of one label it is cross-entropy; of several the binary cross-entropy of each, the mean over
    labels; of numbers the squared error, in the scale that they are learnt in. Validation measures
    it `plain`: without smoothing, focus and weights.

    Attributes:
        smoothing: share of the target spread over all classes.
        gamma: of the focal loss, (1 - p)^γ times the cross-entropy of the true class, p being its
            probability (Lin et al., 2017, arXiv:1708.02002, without its balance of classes, which
            is `weights`); 0 is cross-entropy.
        weights: of the classes, ``[C]``; None weighs all alike. A batch's loss is the weighted mean
            over its rows, as in torch.
        task: what is learnt.
        scale: how numbers are learnt.
    """

    smoothing: float = 0.0
    gamma: float = 0.0
    weights: Tensor | None = None
    task: Task = "single_label"
    scale: Scale = field(default_factory=Scale)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, from logits ``[B, C]`` and labels ``[B]``.

        Of several labels these are ``[B, C]``.
        """
        if self.gamma == 0 and self.task == "single_label":
            weights = self._weights(logits)
            return F.cross_entropy(logits, labels, weights, label_smoothing=self.smoothing)
        return self.of_lanes(logits[None], labels[None])[0]

    def of_share(self, logits: Tensor, labels: Tensor, all_labels: Tensor) -> Tensor:
        """Return what some rows add to the mean loss of a batch: over all rows, these sum to it.

        Args:
            logits: of these rows.
            labels: theirs.
            all_labels: of the whole batch.
        """
        weights = self._weights(logits)
        if self.task != "single_label":
            return self.of_lanes(logits[None], labels[None])[0] * (len(labels) / len(all_labels))
        rows = self._rows(logits[None], labels[None], weights)
        whole = len(all_labels) if weights is None else weights[all_labels].sum()
        return rows.sum() / whole

    def plain(self) -> "TrainingLoss":
        """Return what validation measures."""
        return TrainingLoss(task=self.task, scale=self.scale)

    def of_lanes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return each lane's mean loss, ``[K]``, from logits ``[K, B, C]``, labels ``[K, B]``.

        Of several labels these are ``[K, B, C]``.
        """
        if self.task != "single_label":
            # Half precision would round the numbers that are to be learnt.
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.task == "multi_label":
            true = labels.to(logits.dtype)
            each = F.binary_cross_entropy_with_logits(logits, true, reduction="none")
            return each.mean((1, 2))
        if self.task == "regression":
            return (logits[..., 0] - self.scale.learnt(labels).to(logits)).square().mean(1)
        weights = self._weights(logits)
        flat = self._rows(logits, labels, weights)
        if weights is None:
            return flat.mean(1)
        return flat.sum(1) / weights[labels].sum(1)

    def _rows(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Return each row's loss of one label, weighted, ``[K, B]``."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        flat = F.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            weights,
            label_smoothing=self.smoothing,
            reduction="none",
        ).view(labels.shape)
        if self.gamma:
            # Of the logits, not of the loss: the true class may weigh nothing.
            true = logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
            # Powers below 1 have an infinite slope at 0.
            wrong = (-torch.expm1(true)).clamp(min=torch.finfo(true.dtype).tiny)
            flat = flat * wrong.pow(self.gamma)
        return flat

    def _weights(self, logits: Tensor) -> Tensor | None:
        if self.weights is None:
            return None
        # Half precision would round them, and what their sum is divided by all the more.
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return self.weights.to(logits.device, dtype)


def training_loss(config: Config, labels: Tensor, classes: Sequence[str]) -> TrainingLoss:
    """Return a run's loss.

    Args:
        config: of the run.
        labels: of the rows that it is trained on.
        classes: the class names.

    Raises:
        ConfigError: weights of a class that there is not.
    """
    if (task := task_of(labels)) != "single_label":
        return TrainingLoss(task=task, scale=Scale.of(labels, standardize=config.loss.standardize))
    return TrainingLoss(
        config.label_smoothing,
        config.loss.focal_gamma,
        class_weights(config.loss.class_weights, labels, classes),
    )


def class_weights(
    asked: str | Mapping[str, float] | None, labels: Tensor, classes: Sequence[str]
) -> Tensor | None:
    """Return the weight of each class, float32 ``[C]``; None where all weigh alike.

    Args:
        asked: ``balanced`` weighs a class by N / (C n), n of the N rows being of it, as
            scikit-learn does, C counting the classes that have a row; or weights by class name,
            1 for the others.
        labels: of the training rows, ``[N]``.
        classes: the class names.

    Raises:
        ConfigError: there is no class of a name.
    """
    if asked is None:
        return None
    weights = torch.ones(len(classes))
    if isinstance(asked, str):
        counts = torch.bincount(labels, minlength=len(classes))
        there = counts > 0
        weights[there] = len(labels) / (int(there.sum()) * counts[there].float())
        return weights
    for name, weight in asked.items():
        if name not in classes:
            raise ConfigError(f"loss.class_weights.{name} is no class; {allowed(name, classes)}")
        weights[list(classes).index(name)] = weight
    return weights
