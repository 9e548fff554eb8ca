"""Feeds tokenised texts to a Lightning Trainer, or to a plain loop, in batches of like length.

The tokens stay one ragged int32 tensor. A batch is cut from it by an index tensor and padded to
its own longest text; texts of like length share a batch, so that little of it is padding.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from adapterlab.data.images import SplitName
from adapterlab.data.tokens import TokenizedSplit
from adapterlab.errors import ConfigError, allowed
from adapterlab.seeding import stream

_GROUP = 50  # batches that are sorted together: fewer pad more, more shuffle less


class TextBatch(NamedTuple):
    """What a model sees, and where in the split it came from.

    Attributes:
        inputs: ``input_ids`` and ``attention_mask``, int64 ``[B, L]``, padded at the right.
        labels: int64 ``[B]``.
        rows: the batch's rows in the split, int64 ``[B]``.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    rows: Tensor


class ShuffledByLength(Sampler[Tensor]):
    """Rows of one epoch's batches, random, but of like length; every row is in exactly one.

    The rows are shuffled and cut into groups of 50 batches; each group is sorted by length and cut
    into batches, and all batches are shuffled. Rows that do not fill a batch make a smaller one as
    they come, so that no length is favoured. The order is a function of ``(seed, epoch)`` alone.

    Args:
        lengths: number of tokens of each row, int64 ``[N]``.
        batch_size: rows per batch; one batch may have fewer.
        seed: the data-order seed.
        group: batches that are sorted together; 1 is an ordinary shuffle, which pads more.
    """

    def __init__(self, lengths: Tensor, batch_size: int, seed: int, group: int = _GROUP) -> None:
        self.lengths, self.batch_size, self.seed, self.group = lengths, batch_size, seed, group
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to be drawn next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        # A generator on purpose: Lightning makes the iterator before it sets the epoch.
        order = torch.Generator().manual_seed(stream(self.seed, "order", self.epoch))
        rows = torch.randperm(len(self.lengths), generator=order)
        full = len(rows) - len(rows) % self.batch_size
        step = self.group * self.batch_size
        for start in range(0, full, step):
            group = rows[start : min(start + step, full)]
            rows[start : start + len(group)] = group[self.lengths[group].argsort(stable=True)]
        batches = torch.split(rows, self.batch_size)
        for i in torch.randperm(len(batches), generator=order).tolist():
            yield batches[i]


class OrderedByLength(Sampler[Tensor]):
    """All rows, longest first, rows of one length in file order, ``batch_size`` at a time.

    Args:
        lengths: number of tokens of each row, int64 ``[N]``.
        batch_size: rows per batch; the last one may have fewer.
        by_length: False leaves all rows in file order, which pads more.
    """

    def __init__(self, lengths: Tensor, batch_size: int, by_length: bool = True) -> None:
        self.lengths, self.batch_size, self.by_length = lengths, batch_size, by_length

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        rows = torch.arange(len(self.lengths))
        if self.by_length:
            rows = self.lengths.argsort(descending=True, stable=True)
        yield from torch.split(rows, self.batch_size)


class _InMemory(Dataset[TextBatch]):
    """A split that is indexed by whole batches of rows."""

    def __init__(self, split: TokenizedSplit, pad_token_id: int, width: int | None) -> None:
        self.split, self.pad_token_id, self.width = split, pad_token_id, width

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, rows: Tensor) -> TextBatch:
        split = self.split
        starts = split.offsets[rows, None]
        lengths = split.offsets[rows + 1, None] - starts
        columns = torch.arange(self.width or int(lengths.max()))
        real = columns < lengths
        tokens = split.tokens[(starts + columns).where(real, 0)]
        inputs = {
            "input_ids": tokens.where(real, self.pad_token_id).long(),
            "attention_mask": real.long(),
        }
        return TextBatch(inputs, split.labels[rows], rows)


class TextDataModule(pl.LightningDataModule):
    """Training, validation and test batches of a text data set.

    Training batches are shuffled anew each epoch; all others come in one fixed order, longest
    texts first, so that memory suffices to the end if it does at the start. ``batch.rows`` says
    which rows a batch holds: ``torch.cat(logits)[torch.cat(rows).argsort()]`` is in file order.

    There are no token types: for a single text they are 0, which is what models take them for.

    Args:
        train: training split.
        validation: validation split.
        test: the official test split.
        classes: the name of each class index.
        batch_size: training rows per batch; a smaller batch is kept.
        order_seed: fixes the order of the training batches; 0 or more.
        pad_token_id: what fills a batch up; masked.
        length_bucketing: put texts of like length into a batch; without it, training batches are
            random rows and the others follow the file.
        pad_to_max: pad every batch to ``max_length``, for comparison and for compiled models.
        eval_batch_size: rows per batch in evaluation.
        workers: processes that cut batches; 0 is fastest for data in memory.
        pin_memory: page-locked batches, for a GPU.

    Raises:
        ConfigError: a batch size below 1, or a negative seed or number of workers.
    """

    def __init__(
        self,
        *,
        train: TokenizedSplit,
        validation: TokenizedSplit,
        test: TokenizedSplit,
        classes: Sequence[str],
        batch_size: int,
        order_seed: int,
        pad_token_id: int,
        length_bucketing: bool = True,
        pad_to_max: bool = False,
        eval_batch_size: int = 64,
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
        self.splits: dict[str, TokenizedSplit] = {
            "train": train,
            "validation": validation,
            "test": test,
        }
        self.classes = tuple(classes)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.order_seed, self.pad_token_id = order_seed, pad_token_id
        self.length_bucketing, self.pad_to_max = length_bucketing, pad_to_max
        self.workers, self.pin_memory = workers, pin_memory

    def train_dataloader(self) -> DataLoader[TextBatch]:
        """Shuffled batches of the training split."""
        # Workers fetch ahead, before Lightning sets the epoch of a resumed run.
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        return self._loader("train", self._shuffled(epoch))

    def val_dataloader(self) -> DataLoader[TextBatch]:
        """The validation split in its fixed order."""
        return self._loader("validation", self._ordered("validation"))

    def test_dataloader(self) -> DataLoader[TextBatch]:
        """The official test split in its fixed order."""
        return self._loader("test", self._ordered("test"))

    def batches(self, split: SplitName, device: torch.device | str = "cpu") -> Iterator[TextBatch]:
        """A split in its fixed order, without a Trainer.

        Raises:
            ConfigError: a split that does not exist.
        """
        self._require(split)
        for batch in self._loader(split, self._ordered(split)):
            yield self.transfer_batch_to_device(batch, torch.device(device), 0)

    def padding_share(self, split: SplitName, epoch: int = 0) -> float:
        """Tokens with padding over tokens without it, summed over batches; 1 is no padding.

        Args:
            split: which one.
            epoch: of the training batches, counted from 0; the others are always the same.

        Raises:
            ConfigError: a split that does not exist.
        """
        self._require(split)
        lengths, width = self.splits[split].lengths, self._width(split)
        draws: Sampler[Tensor] = self._shuffled(epoch) if split == "train" else self._ordered(split)
        padded = sum(len(rows) * (width or int(lengths[rows].max())) for rows in draws)
        return padded / int(lengths.sum())

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise ConfigError(f"split is {split!r}; {allowed(split, self.splits)}")

    def _shuffled(self, epoch: int) -> ShuffledByLength:
        lengths = self.splits["train"].lengths
        group = _GROUP if self.length_bucketing else 1
        draws = ShuffledByLength(lengths, self.batch_size, self.order_seed, group)
        draws.set_epoch(epoch)
        return draws

    def _ordered(self, split: SplitName) -> OrderedByLength:
        lengths = self.splits[split].lengths
        return OrderedByLength(lengths, self.eval_batch_size, self.length_bucketing)

    def _width(self, split: SplitName) -> int | None:
        return self.splits[split].max_length if self.pad_to_max else None

    def _loader(self, split: SplitName, draws: Sampler[Tensor]) -> DataLoader[TextBatch]:
        return DataLoader(
            _InMemory(self.splits[split], self.pad_token_id, self._width(split)),
            batch_size=None,  # the sampler's items are whole batches
            sampler=draws,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # else every pass would draw from the global one
        )
