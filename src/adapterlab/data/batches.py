"""What batches of images and of texts share: three splits, their order, and loops over them."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, Self, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.base.signals import in_helping_process
from adapterlab.config.tasks import Task
from adapterlab.data.splits import ImageSplit
from adapterlab.data.targets import Scale, task_of
from adapterlab.data.tokens import TokenizedSplit

SplitName = Literal["train", "validation", "test"]

EVALUATED = {"image": 1024, "text": 64}
"""Rows of a batch in evaluation, by the kind of a data set, unless it is told otherwise."""

Order = tuple[int, int]
"""An order of the training rows: its seed, and the epoch, counted from 0."""

Split = TypeVar("Split", ImageSplit, TokenizedSplit)
Batch = TypeVar("Batch")


class SplitBatches(ABC, Generic[Split, Batch]):
    """Training, validation and test batches of a data set that is in memory.

    Training batches are shuffled anew each epoch, as a function of ``(order_seed, epoch)`` alone;
    all others come in one fixed order. Subclasses say what a batch is and how rows are drawn.

    Args:
        train: training split.
        validation: validation split.
        test: the official test split.
        classes: the name of each class index.
        batch_size: training rows per batch; a smaller batch is kept.
        order_seed: fixes the order of the training batches; 0 or more.
        eval_batch_size: rows per batch in evaluation.
        workers: processes that cut batches; 0 is fastest for data in memory.
        pin_memory: page-locked batches, for a GPU.
        balanced: draw the training rows of an epoch, as many as there are, so that each class is
            as likely as any other, rather than take each row once.
        standardize: let numbers be learnt in standard deviations from the mean of the training
            rows; classes and several labels are learnt as they are.

    Attributes:
        task: what the examples are labelled for.
        scale: how numbers are learnt.

    Raises:
        ConfigError: a batch size below 1, or a negative seed or number of workers.
    """

    def __init__(
        self,
        *,
        train: Split,
        validation: Split,
        test: Split,
        classes: Sequence[str],
        batch_size: int,
        order_seed: int,
        eval_batch_size: int,
        workers: int = 0,
        pin_memory: bool = False,
        balanced: bool = False,
        standardize: bool = True,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("order_seed", order_seed, 0),
            ("workers", workers, 0),
        ):
            if value < least:
                raise ConfigError(f"{name} is {value}; allowed: {least} or more")
        self.splits: dict[str, Split] = {"train": train, "validation": validation, "test": test}
        self.classes = tuple(classes)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.order_seed = order_seed
        self.workers, self.pin_memory = workers, pin_memory
        self.shares = shares_of_rows(train.labels) if balanced else None
        self._features: dict[str, Any] = {}
        self.task: Task = task_of(train.labels)
        self.scale = Scale.of(train.labels, standardize=standardize)

    def in_order(self, order_seed: int) -> Self:
        """The same batches but for the order of the training rows; data and features are shared."""
        other = copy.copy(self)
        other.order_seed = order_seed
        return other

    def detach(self) -> None:
        """Take the features of all splits away."""
        self._features.clear()

    def in_full(self) -> Self:
        """The same batches without features that were computed in half precision."""
        if not any(features.mixed for features in self._features.values()):
            return self
        other = copy.copy(self)
        other._features = {}
        return other

    def loader(self, split: SplitName, epoch: int = 0) -> DataLoader[Any]:
        """Batches as they are cut from memory, to be moved to a device and then prepared.

        Args:
            split: training batches are shuffled, all others in their fixed order.
            epoch: of the training batches, counted from 0.
        """
        draws = self._shuffled(epoch) if split == "train" else self._ordered(split)
        return self._loader(split, draws)

    def prepared(self, cut: Any) -> Batch:
        """What a model sees of a batch, which is on its device by now."""
        return cast(Batch, cut)

    def batches(self, split: SplitName, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """A split in its fixed order, as a model sees it in evaluation, without a Trainer.

        Raises:
            ConfigError: a split that does not exist.
        """
        self._require(split)
        yield from self._on_device(split, self._ordered(split), device)

    def training_batches(self, epoch: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """The batches of an epoch, counted from 0, as a Trainer would draw them."""
        yield from self._on_device("train", self._shuffled(epoch), device)

    def side_by_side(
        self, orders: Sequence[Order], device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """The batches of an epoch in several orders, the rows of one order after the other's."""
        streams = (self.in_order(seed).training_batches(epoch, device) for seed, epoch in orders)
        for batches in zip(*streams, strict=True):
            yield _joined(batches)

    @property
    def steps(self) -> int:
        """Training batches of an epoch."""
        return -(-len(self.splits["train"]) // self.batch_size)

    @abstractmethod
    def order(self, split: SplitName) -> Tensor:
        """The rows of a split in the order of :meth:`batches`, int64 ``[N]``.

        Raises:
            ConfigError: a split that does not exist.
        """

    def facts(self) -> dict[str, float]:
        """Figures about the data that are worth logging, by name."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """What a reader of a figure must know about the batches, in sentences."""
        return ()

    @abstractmethod
    def _shuffled(self, epoch: int) -> Sampler[Any]:
        """Draws of the training batches of an epoch."""

    @abstractmethod
    def _ordered(self, split: SplitName) -> Sampler[Any]:
        """Draws of a split in its fixed order."""

    @abstractmethod
    def _dataset(self, split: SplitName) -> Dataset[Any]:
        """A split that is indexed by whole draws."""

    def _on_device(
        self, split: SplitName, draws: Sampler[Any], device: torch.device | str
    ) -> Iterator[Batch]:
        cuts: Iterable[Any]
        if self.workers or self.pin_memory:
            cuts = self._loader(split, draws)
        else:  # what a DataLoader does around a batch takes longer than to cut it from memory
            cuts = map(self._dataset(split).__getitem__, draws)
        yield from self._moved(cuts, device)

    def _moved(self, cuts: Iterable[Any], device: torch.device | str) -> Iterator[Batch]:
        for cut in cuts:
            yield self.prepared(cut if str(device) == "cpu" else on_device(cut, device))

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise ConfigError(f"split is {split!r}; {allowed(split, self.splits)}")

    def _loader(self, split: SplitName, draws: Sampler[Any]) -> DataLoader[Any]:
        return DataLoader(
            self._dataset(split),
            batch_size=None,  # the sampler's items are whole batches
            sampler=draws,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            worker_init_fn=in_helping_process,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # else every pass would draw from the global one
        )


def shares_of_rows(labels: Tensor) -> Tensor:
    """Return how likely each row is to be drawn where classes are to be alike, ``[N]``."""
    return torch.bincount(labels).double().reciprocal()[labels]


def rows_of_epoch(count: int, order: torch.Generator, shares: Tensor | None = None) -> Tensor:
    """Return the training rows of an epoch in a random order, int64 ``[count]``.

    Args:
        count: rows that there are.
        order: what they are drawn from.
        shares: how likely each row is; None takes each once.
    """
    if shares is None:
        return torch.randperm(count, generator=order)
    return torch.multinomial(shares, count, replacement=True, generator=order)


def on_device(value: Any, device: torch.device | str) -> Any:
    """Move the tensors of a batch; pinned memory is copied while other things go on."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: on_device(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(on_device(item, device) for item in value))
    return value


def _joined(batches: Sequence[Any]) -> Any:
    if len(batches) == 1:
        return batches[0]
    inputs = [batch.inputs for batch in batches]
    assert not isinstance(inputs[0], Mapping), "texts of two orders differ in their lengths"
    labels = torch.cat([batch.labels for batch in batches])
    return batches[0]._replace(inputs=torch.cat(inputs), labels=labels)


AnyBatches = SplitBatches[Any, Any]
"""Batches of images or of texts, for what takes either as it comes."""
