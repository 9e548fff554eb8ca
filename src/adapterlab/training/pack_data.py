"""Batches for a pack: what its lanes read at a time, one stream of data after the other."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from adapterlab.data.batches import SplitDataModule

CHUNK = 32
"""Batches that one call of `training_step` trains on: what Lightning does around it costs time."""


class PackBatch(NamedTuple):
    """A batch of every stream.

    Attributes:
        inputs: of all streams, one after the other, ``[G·B, ...]``.
        labels: ``[G, B]``.
    """

    inputs: Any
    labels: Tensor

    @property
    def rows(self) -> int:
        """B."""
        return self.labels.shape[1]


class PackData(pl.LightningDataModule):
    """The batches of a pack's streams, and the validation split that all lanes share.

    Args:
        streams: data modules that differ in the order of their training batches only.
        first_epoch: that is trained, counted from 0, when a training goes on.
        device: where batches go.
    """

    def __init__(
        self, streams: Sequence[SplitDataModule[Any, Any]], first_epoch: int, device: torch.device
    ) -> None:
        super().__init__()
        self.streams, self.first_epoch, self.device = list(streams), first_epoch, device

    @property
    def steps(self) -> int:
        """Training batches of an epoch."""
        return self.streams[0].steps

    def train_dataloader(self) -> "_Chunks":
        """Iterators over `CHUNK` batches each."""
        return _Chunks(self)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split in its fixed order."""
        return self.streams[0].val_dataloader()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, index: int) -> Any:
        """Move a validation batch; training batches have been moved."""
        if isinstance(batch, _Chunk):
            return batch
        return self.streams[0].transfer_batch_to_device(batch, device, index)

    def on_after_batch_transfer(self, batch: Any, index: int) -> Any:
        """Let a validation batch become what a model sees."""
        if isinstance(batch, _Chunk):
            return batch
        return self.streams[0].on_after_batch_transfer(batch, index)

    def keep(self, streams: Collection[int]) -> None:
        """Go on with some of the streams."""
        self.streams = [stream for i, stream in enumerate(self.streams) if i in streams]

    def epoch(self, epoch: int) -> Iterator[PackBatch]:
        """Yield the training batches of an epoch, counted from 0."""
        seeds = [stream.order_seed for stream in self.streams]
        for batch in self.streams[0].side_by_side(seeds, epoch, self.device):
            yield PackBatch(batch.inputs, batch.labels.view(len(seeds), -1))


class _Chunk(Iterator[PackBatch]):
    """Some of an epoch's batches, drawn while they are trained on."""

    def __init__(self, batches: Iterator[PackBatch]) -> None:
        self._batches = islice(batches, CHUNK)

    def __next__(self) -> PackBatch:
        return next(self._batches)


class _Chunks:
    """What Lightning takes for a loader of training batches: sized, so nothing is drawn ahead."""

    def __init__(self, data: PackData) -> None:
        self.data = data

    def __len__(self) -> int:
        return -(-self.data.steps // CHUNK)

    def __iter__(self) -> Iterator[_Chunk]:
        # A generator on purpose: Lightning makes the iterator before it counts the epoch.
        trainer = self.data.trainer
        assert trainer is not None
        batches = self.data.epoch(self.data.first_epoch + trainer.current_epoch)
        for _ in range(len(self)):
            yield _Chunk(batches)
