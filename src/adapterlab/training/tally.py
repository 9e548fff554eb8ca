"""Sums over the batches of an epoch, from which its metrics come."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adapterlab.evidence.multi_label import choose_thresholds, multi_label_metrics
from adapterlab.evidence.regression import regression_metrics
from adapterlab.training.losses import TrainingLoss

_MOST_WAITING = 2**22
"""Logits that wait to be counted, at most."""


class LaneTally(nn.Module):
    """Sums over the batches of an epoch for several lanes, kept on the device until it ends.

    Args:
        num_classes: C; the confusion counts are [K, C, C], true class by predicted class.
        lanes: K.
    """

    confusion: Tensor
    loss_sum: Tensor

    def __init__(self, num_classes: int, lanes: int) -> None:
        super().__init__()
        self.num_classes, self.lanes = num_classes, lanes
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        sizes = {"confusion": lanes * num_classes**2, "loss_sum": lanes}
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64), persistent=False)
        self.first_rows: Tensor
        first_rows = torch.arange(lanes)[:, None] * num_classes
        self.register_buffer("first_rows", first_rows, persistent=False)
        self._watched: Sequence[Mapping[str, int]] = ()

    def watch(self, watched: Sequence[Mapping[str, int]]) -> None:
        """Compute each lane's F1 of some classes as well, by the name of the metric."""
        self._watched = watched if any(watched) else ()

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Take a batch: logits [K, batch, C], labels [K, batch], its mean losses [K]."""
        self._waiting.append((logits.detach(), labels, loss.detach()))
        # Counted together, many small batches cost little more than one.
        if len(self._waiting) * logits.numel() >= _MOST_WAITING or len(self._waiting) >= 32:
            self.count()

    @torch.no_grad()
    def count(self) -> None:
        """Count the batches that wait."""
        if not self._waiting:
            return
        all_logits, all_labels, losses = zip(*self._waiting, strict=True)
        self._waiting = []
        logits, labels = torch.cat(all_logits, 1), torch.cat(all_labels, 1)
        cells = (self.first_rows + labels) * self.num_classes + logits.argmax(-1)
        ones = torch.ones(cells.numel(), dtype=torch.float64, device=cells.device)
        self.confusion.index_add_(0, cells.flatten(), ones)
        sizes = [own.shape[-1] for own in all_labels]
        by_batch = torch.stack(losses).to(torch.float64)
        self.loss_sum += by_batch.new_tensor(sizes) @ by_batch

    def sums(self) -> Any:
        """Return what is counted so far, for `take`."""
        self.count()
        return self.confusion.cpu(), self.loss_sum.cpu()

    def take(self, sums: Sequence[Any]) -> None:
        """Count what several have counted, in place of what is counted here."""
        for name, parts in zip(("confusion", "loss_sum"), zip(*sums, strict=True), strict=True):
            own = getattr(self, name)
            own.copy_(torch.stack(parts).sum(0))

    def compute(self) -> list[dict[str, float]]:
        """Return each lane's loss and scores, see `Tally`."""
        self.count()
        counts = self.confusion.view(self.lanes, self.num_classes, self.num_classes)
        hits, total = counts.diagonal(dim1=1, dim2=2), counts.sum((1, 2))
        said, true = counts.sum(1), counts.sum(2)
        f1 = 2 * hits / (said + true).clamp_min(1)
        recalls, right = hits / true.clamp_min(1), hits.sum(1)
        both = (total**2 - (said**2).sum(1)) * (total**2 - (true**2).sum(1))
        covered = right * total - (true * said).sum(1)
        columns = {
            "loss": self.loss_sum / total,
            "accuracy": right / total,
            "macro_f1": f1.mean(1),
            "mcc": torch.where(both > 0, covered / both.clamp_min(1).sqrt(), 0.0),
            "balanced_accuracy": recalls.sum(1) / (true > 0).sum(1),
        }
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        scores = [dict(zip(columns, row, strict=True)) for row in rows]
        for own, watched, of_classes in zip(scores, self._watched, f1, strict=False):
            own |= {name: float(of_classes[label]) for name, label in watched.items()}
        return scores

    def reset(self) -> None:
        """Start an epoch."""
        self._waiting = []
        self.confusion.zero_()
        self.loss_sum.zero_()


class Tally(nn.Module):
    """Sums over the batches of an epoch of one model.

    Args:
        num_classes: C; the confusion counts are [C, C], true class by predicted class.
        loss: says the task; None for one label.
        training: see `lane_tally`.
    """

    def __init__(
        self, num_classes: int, loss: TrainingLoss | None = None, *, training: bool = False
    ) -> None:
        super().__init__()
        self._lanes = lane_tally(loss or TrainingLoss(), num_classes, 1, training=training)

    def watch(self, watched: Mapping[str, int]) -> None:
        """Compute the F1 of some classes as well, by the name of the metric."""
        assert isinstance(self._lanes, LaneTally), "of one label only"
        self._lanes.watch([watched])

    @property
    def confusion(self) -> Tensor:
        """Counts, [C²], of one label."""
        assert isinstance(self._lanes, LaneTally)
        self._lanes.count()
        return self._lanes.confusion

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Count a batch: logits [batch, C], labels [batch], its mean loss."""
        self._lanes.add(logits[None], labels[None], loss[None])

    def sums(self) -> Any:
        """Return what is counted so far, for `take`."""
        return self._lanes.sums()

    def take(self, sums: Sequence[Any]) -> None:
        """Count what several have counted, in place of what is counted here."""
        self._lanes.take(sums)

    def compute(self) -> dict[str, float]:
        """Return the loss and what counts tell, as `evidence.metrics` defines it.

        Of one label they are accuracy, macro_f1 (a class that never occurs counts as 0), mcc and
        balanced_accuracy (over the classes that occur).
        """
        return self._lanes.compute()[0]

    def reset(self) -> None:
        """Start an epoch."""
        self._lanes.reset()


class ScoreTally(nn.Module):
    """Sums and answers of an epoch for several lanes, of tasks that have no counts of classes.

    Several labels are answered above the thresholds that are best on these very examples, for
    macro-F1 those that are best for it; see `evidence.multi_label.choose_thresholds`.

    Args:
        loss: says the task.
        classes: C names.
        lanes: K.
        answers: keep what is answered, for scores; False leaves the loss alone.
    """

    def __init__(
        self, loss: TrainingLoss, classes: int, lanes: int, *, answers: bool = True
    ) -> None:
        super().__init__()
        self.loss, self.classes, self.lanes, self.answers = loss, classes, lanes, answers
        self.reset()

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Take a batch: logits [K, batch, C], labels [K, batch], its mean losses [K]."""
        self._losses.append(loss.detach())
        self._sizes.append(labels.shape[1])
        if self.answers:
            self._logits.append(logits.detach())
            self._labels.append(labels)

    def sums(self) -> Any:
        """Return what is counted so far, for `take`."""
        tensors = self._losses, self._logits, self._labels
        return [[one.cpu() for one in kept] for kept in tensors], list(self._sizes)

    def take(self, sums: Sequence[Any]) -> None:
        """Count what several have counted, in place of what is counted here."""
        kept, sizes = zip(*sums, strict=True)
        here = self._losses, self._logits, self._labels
        for own, parts in zip(here, zip(*kept, strict=True), strict=True):
            own[:] = [one for part in parts for one in part]
        self._sizes[:] = [size for part in sizes for size in part]

    def compute(self) -> list[dict[str, float]]:
        """Return each lane's loss and scores, see `evidence.multi_label` and `.regression`."""
        by_batch = torch.stack(self._losses).to(torch.float64)
        sums = by_batch.new_tensor(self._sizes) @ by_batch
        losses = [{"loss": float(one) / sum(self._sizes)} for one in sums.tolist()]
        if not self.answers:
            return losses
        logits = torch.cat(self._logits, 1).double().cpu()
        labels = torch.cat(self._labels, 1).cpu()
        return [
            own | self._scores(one, true)
            for own, one, true in zip(losses, logits, labels, strict=True)
        ]

    def _scores(self, logits: Tensor, labels: Tensor) -> dict[str, float]:
        if not bool(logits.isfinite().all()):
            return {}  # the loss says so
        if self.loss.task == "regression":
            return regression_metrics(self.loss.scale.told(logits[:, 0]).numpy(), labels.numpy())
        z, true = logits.numpy(), labels.numpy()
        names = [str(label) for label in range(self.classes)]
        found = multi_label_metrics(z, true, names, choose_thresholds(z, true))
        scores = {name: found.get(name, 0.0) for name in _SCORES}
        limits = choose_thresholds(z, true, macro=True)
        return scores | {"macro_f1": multi_label_metrics(z, true, names, limits)["macro_f1"]}

    def reset(self) -> None:
        """Start an epoch."""
        self._losses: list[Tensor] = []
        self._sizes: list[int] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []


_SCORES = ("micro_f1", "mean_average_precision", "exact_match")


def lane_tally(
    loss: TrainingLoss, num_classes: int, lanes: int, *, training: bool
) -> "LaneTally | ScoreTally":
    """Return sums over an epoch for a task.

    Args:
        loss: of the run, which says the task.
        num_classes: outputs of the model.
        lanes: K.
        training: whether it is of training batches, of which tasks without classes keep the loss.
    """
    if loss.task == "single_label":
        return LaneTally(num_classes, lanes)
    return ScoreTally(loss, num_classes, lanes, answers=not training)
