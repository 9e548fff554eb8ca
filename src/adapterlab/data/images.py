"""Feeds image splits to a Lightning Trainer, or to a plain loop, in whole batches.

The images stay one uint8 tensor. A batch is cut from it by an index tensor, moved to the device,
and only there augmented and normalised.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from adapterlab.data.splits import ImageSplit
from adapterlab.data.transforms import Augment, Normalize
from adapterlab.errors import ConfigError, allowed
from adapterlab.seeding import stream

SplitName = Literal["train", "validation", "test"]


class Batch(NamedTuple):
    """What a model sees: ``inputs`` float32 ``[B, C, H, W]``, ``labels`` int64 ``[B]``."""

    inputs: Tensor
    labels: Tensor


class Draw(NamedTuple):
    """Which rows make a batch, and the seed of its augmentation (None: not augmented)."""

    indices: Tensor
    seed: int | None


class RawBatch(NamedTuple):
    """A batch as cut from memory: ``images`` uint8 ``[B, C, H, W]``, ``labels``, and the seed."""

    images: Tensor
    labels: Tensor
    seed: int | None


class ShuffledDraws(Sampler[Draw]):
    """Batches of one epoch in random order; every row is in exactly one of them.

    The order is a function of ``(seed, epoch)`` alone, and a batch's augmentation seed of
    ``(seed, epoch, batch index)``: a resumed run meets the batches it would have met anyway.

    Args:
        size: number of rows.
        batch_size: rows per batch; the last one may have fewer.
        seed: the data-order seed.
    """

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to be drawn next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[Draw]:
        # A generator on purpose: Lightning makes the iterator before it sets the epoch.
        epoch = self.epoch
        order = torch.Generator().manual_seed(stream(self.seed, "order", epoch))
        rows = torch.randperm(self.size, generator=order)
        for batch, start in enumerate(range(0, self.size, self.batch_size)):
            yield Draw(
                rows[start : start + self.batch_size],
                stream(self.seed, "augmentation", epoch, batch),
            )


class OrderedDraws(Sampler[Draw]):
    """All rows in file order, ``batch_size`` at a time, without augmentation."""

    def __init__(self, size: int, batch_size: int) -> None:
        self.size, self.batch_size = size, batch_size

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[Draw]:
        rows = torch.arange(self.size)
        for start in range(0, self.size, self.batch_size):
            yield Draw(rows[start : start + self.batch_size], None)


class _InMemory(Dataset[RawBatch]):
    """A split that is indexed by whole draws."""

    def __init__(self, split: ImageSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, draw: Draw) -> RawBatch:
        images, labels = self.split.images, self.split.labels
        return RawBatch(images[draw.indices], labels[draw.indices], draw.seed)


class ImageDataModule(pl.LightningDataModule):
    """Training, validation and test batches of an image data set.

    Training batches are shuffled and augmented; all other batches are in file order, unaugmented,
    and of one size, so that evaluating twice adds up the same numbers in the same order. With a
    Trainer, batches are :class:`RawBatch` until they are on the device and :class:`Batch` from
    there on; without one, :meth:`batches` yields the latter.

    Args:
        train: training split.
        validation: validation split.
        test: the official test split.
        classes: the name of each class index.
        mean: of the pixels in [0, 1], per channel (see :class:`Normalize`).
        std: likewise.
        batch_size: training rows per batch; a smaller last batch is kept.
        order_seed: fixes order and augmentation of the training batches; 0 or more.
        crop: padding of the random crop in pixels, 0 for none.
        flip: mirror training images with probability one half.
        eval_batch_size: rows per batch in evaluation.
        workers: processes that cut batches; 0 is fastest for data in memory.
        pin_memory: page-locked batches, for a GPU.

    Raises:
        ConfigError: a batch size below 1, a negative seed or number of workers, or statistics that
            do not fit the channels.
    """

    def __init__(
        self,
        *,
        train: ImageSplit,
        validation: ImageSplit,
        test: ImageSplit,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int,
        order_seed: int,
        crop: int = 0,
        flip: bool = False,
        eval_batch_size: int = 1024,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("order_seed", order_seed, 0),
            ("workers", workers, 0),
        ):
            if value < least:
                raise ConfigError(f"{name} is {value}; allowed: {least} or more")
        self.splits: dict[str, ImageSplit] = {
            "train": train,
            "validation": validation,
            "test": test,
        }
        self.classes = tuple(classes)
        self.shape = train.shape
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.order_seed = order_seed
        self.workers, self.pin_memory = workers, pin_memory
        self.normalize = Normalize(mean, std, channels=self.shape[0])
        self.augment = Augment(crop=crop, flip=0.5 if flip else 0.0)

    def train_dataloader(self) -> DataLoader[RawBatch]:
        """Shuffled batches of the training split, to be augmented on the device."""
        split = self.splits["train"]
        draws = ShuffledDraws(len(split), self.batch_size, self.order_seed)
        if self.trainer is not None:
            # Workers fetch ahead, before Lightning sets the epoch of a resumed run.
            draws.set_epoch(self.trainer.current_epoch)
        return self._loader(split, draws)

    def val_dataloader(self) -> DataLoader[RawBatch]:
        """The validation split in order."""
        return self._in_order("validation")

    def test_dataloader(self) -> DataLoader[RawBatch]:
        """The official test split in order."""
        return self._in_order("test")

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int) -> Batch:
        """Augment (training batches only) and normalise a batch where it now lies."""
        images = batch.images
        if batch.seed is not None and self.augment.active:
            generator = torch.Generator(images.device).manual_seed(batch.seed)
            images = self.augment(images, generator)
        return Batch(self.normalize(images), batch.labels)

    def batches(self, split: SplitName, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """A split in order, normalised and never augmented, without a Trainer.

        Raises:
            ConfigError: a split that does not exist.
        """
        if split not in self.splits:
            raise ConfigError(f"split is {split!r}; {allowed(split, self.splits)}")
        for raw in self._in_order(split):
            moved = RawBatch(raw.images.to(device), raw.labels.to(device), raw.seed)
            yield self.on_after_batch_transfer(moved, dataloader_idx=0)

    def _in_order(self, name: SplitName) -> DataLoader[RawBatch]:
        split = self.splits[name]
        return self._loader(split, OrderedDraws(len(split), self.eval_batch_size))

    def _loader(self, split: ImageSplit, draws: Sampler[Draw]) -> DataLoader[RawBatch]:
        return DataLoader(
            _InMemory(split),
            batch_size=None,  # the sampler's items are whole batches
            sampler=draws,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # else every pass would draw from the global one
        )
