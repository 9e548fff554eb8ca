"""What one device of several does: its share of every batch, and its part of the validation."""

from typing import Any

import torch.distributed as dist
from torch import Tensor

from adapterlab.training.devices.shares import SharedBatch, SharedDraws, shared
from adapterlab.training.lightning.classifier import Classifier
from adapterlab.training.lightning.data import LightningData
from adapterlab.training.outcome import LabelledBatch
from adapterlab.training.training_state import metrics_of


class SharedClassifier(Classifier):
    """A `Classifier` that computes shares of batches, whose gradients devices take the mean of.

    A share's loss is its rows' part of the whole batch's, times the number of devices, so that the
    mean over devices is the gradient of one. Metrics are of the sums of all devices; the first
    says them to the others, so that all find the same epoch best and end with the same.

    Attributes:
        rank: of this device, from 0.
        devices: how many there are.
        draws: are made in them.
    """

    rank, devices = 0, 1
    draws: SharedDraws

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Return the loss of a share of a batch."""
        with self.draws.of(batch.share):
            return super().training_step(batch, batch_index)

    def batch_loss(self, logits: Tensor, batch: Any) -> Tensor:
        """Return what a share adds to the batch's loss, and count it."""
        assert isinstance(batch, SharedBatch)
        own = self.loss.of_share(logits, batch.labels, batch.all_labels)
        if not batch.share.counts:
            return own * 0
        counted = len(batch.all_labels) / len(batch.labels)  # a tally weighs by its rows
        self.train_tally.add(logits, batch.labels, own * counted)
        return own * self.devices

    def validation_step(self, batch: LabelledBatch, batch_index: int) -> None:
        """Count a batch, whole, if it is this device's turn."""
        if batch_index % self.devices == self.rank:
            super().validation_step(batch, batch_index)

    def epoch_metrics(self) -> dict[str, float]:
        """Return the epoch's metrics, as the first device has them of all sums."""
        sums: list[Any] = [None] * self.devices
        own = self.train_tally.sums(), self.val_tally.sums()
        dist.all_gather_object(sums, own)
        said: list[Any] = [None]
        if self.rank == 0:
            train, validation = zip(*sums, strict=True)
            self.train_tally.take(train)
            self.val_tally.take(validation)
            counts = self.train_tally.compute(), self.val_tally.compute()
            said = [metrics_of(*counts, self._rate())]
        dist.broadcast_object_list(said, src=0)
        metrics: dict[str, float] = said[0]
        return metrics


class SharedData(LightningData):
    """Batches of which a device takes its share where it trains.

    Every device cuts and augments the whole batch, so that it is that of one device.

    Args:
        data: the same batches for plain loops.
        rank: of this device.
        devices: how many there are.
    """

    def __init__(self, data: Any, rank: int, devices: int) -> None:
        super().__init__(data)
        self.rank, self.devices = rank, devices

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Return what a model sees of a batch, or of a share of it."""
        prepared = super().on_after_batch_transfer(batch, dataloader_idx)
        assert self.trainer is not None
        return shared(prepared, self.rank, self.devices) if self.trainer.training else prepared
