"""What the first layer's frozen matrices make of every row of the data, computed once for a pack.

Of W x + B A x, W x is the same in every epoch and lane; of methods whose projections are frozen,
nothing of the product with a row changes. Where the first layer of a chain is adapted, its frozen
products are computed once for all rows, and looked up by each lane's order from then on. Nothing is
taken for granted: for each size of batch, one is computed in both ways, and must be the same to the
last bit; else batches of this size are computed as ever. Where nothing else looks at the images,
which a training step on no numbers at all tells, they are not even cut.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor

from adapterlab.data.batches import AnyBatches, Order, SplitName
from adapterlab.data.images import ImageBatches
from adapterlab.models.protocol import adaptable
from adapterlab.packing import PackedModel
from adapterlab.packing.known_rows import (
    MOST_BYTES,
    Comparing,
    FrozenProduct,
    Key,
    KnownRows,
    Noting,
)
from adapterlab.training.hardware import Device, autocast

SHARE_OF_FREE = 8
"""They may take one in so many bytes of the memory that is free."""

_WORTH_IT = 32
"""Steps, each of as many batches as there are orders, from which on they are worth it."""


class Given(NamedTuple):
    """A batch of a pack: what it is computed from, the labels of its rows, and what is known."""

    inputs: Any
    labels: Tensor
    known: KnownRows | None


class FirstProducts:
    """Batches of a pack, with what is known of their rows.

    Args:
        pack: in training mode.
        data: of any of its lanes.
        device: where it computes.
        epochs: that are left.
        before: of a pack whose lanes go on in this one, if there was one: what it knows of the
            same matrices is not computed again.
    """

    def __init__(
        self,
        pack: PackedModel,
        data: AnyBatches,
        device: Device,
        epochs: int,
        before: "FirstProducts | None" = None,
    ) -> None:
        self.pack, self.data, self.device = pack, data, device
        self._tables: dict[str, dict[Key, Tensor]] = {}
        self._matrices: dict[Key, FrozenProduct] = {}  # held, so that none takes another's place
        self._before = before._tables if before is not None and before.data is data else {}
        self._agreed: dict[tuple[str, int, int], bool] = {}
        self.needs_images = True
        self._image: tuple[int, ...] = ()
        if isinstance(data, ImageBatches) and self._may(data, self.orders * epochs):
            self._tables = self._computed(data, epochs)
        self._before = {}
        self.begin()

    @property
    def gib(self) -> float:
        """Return what is kept, in GiB."""
        tables = [table for split in self._tables.values() for table in split.values()]
        return sum(table.numel() * table.element_size() for table in tables) / 2**30

    @property
    def orders(self) -> int:
        """Return in how many orders the lanes read while training."""
        return max(self.pack.lanes.read) + 1

    def described(self) -> str:
        """Say what is kept; nothing where nothing is."""
        if not self._tables:
            return ""
        images = "" if self.needs_images else ", images are not read"
        return f"frozen products of the first layer once, {self.gib:.2f} GiB{images}"

    def begin(self) -> None:
        """Find out what the pack looks at, when lanes have left it as well."""
        self._agreed = {}
        self.needs_images = not self._tables or self._looks_at_images()

    def training_batches(self, orders: Sequence[Order]) -> Iterator[Given]:
        """Yield the batches of an epoch in several orders, the rows of one after the other's."""
        data = self.data
        if not self._tables or not isinstance(data, ImageBatches):
            for batch in data.side_by_side(orders, self.device.torch):
                yield Given(batch.inputs, batch.labels, None)
            return
        labels = data.splits["train"].labels
        for rows in data.rows_side_by_side(orders):
            yield self._given(data, "train", rows, labels.index_select(0, rows))

    def validation_batches(self) -> Iterator[Given]:
        """Yield the batches of the validation split."""
        data = self.data
        if "validation" not in self._tables or not isinstance(data, ImageBatches):
            for batch in data.batches("validation", self.device.torch):
                yield Given(batch.inputs, batch.labels, None)
            return
        split = data.splits["validation"]
        for rows in torch.split(torch.arange(len(split)), data.eval_batch_size):
            yield self._given(data, "validation", rows, split.labels[rows])

    def _given(self, data: ImageBatches, split: SplitName, rows: Tensor, labels: Tensor) -> Given:
        size = split, len(rows), self.pack.count
        if size not in self._agreed:
            self._agreed[size] = self._agrees(data, split, rows)
        if not self._agreed[size]:
            return Given(data.of_rows(split, rows), labels, None)
        looked_at = self.needs_images
        inputs = data.of_rows(split, rows) if looked_at else self._nothing(data, len(rows))
        return Given(inputs, labels, KnownRows(self._tables[split], inputs, rows))

    def _may(self, data: ImageBatches, passes: int) -> bool:
        """Say whether rows are the same whenever they are read, and are read often enough."""
        return (
            adaptable(self.pack.model).is_chain
            and self.device.accelerator == "cpu"
            and not (data.augments or data.has_features or data.workers or data.pin_memory)
            and passes > 1
            and data.steps * passes >= _WORTH_IT
        )

    @torch.no_grad()
    def _computed(self, data: ImageBatches, epochs: int) -> dict[str, dict[Key, Tensor]]:
        """Return the products of the rows of each split, if there are any, and room for them."""
        batch = self.orders * min(data.batch_size, len(data.splits["train"]))
        rows = torch.arange(batch) % len(data.splits["train"])
        inputs = data.of_rows("train", rows)
        self._image = tuple(inputs.shape[1:])
        noting = Noting(inputs)
        with _evaluating(self.pack), self._autocast():
            self.pack(inputs, batch // self.orders, known=noting)
            sample = {key: one.of(inputs) for key, one in noting.found.items()}
        sizes = {"train": batch, "validation": data.eval_batch_size}
        names: tuple[SplitName, ...] = ("train", "validation") if epochs > 1 else ("train",)
        each = sum(one[0].numel() * one.element_size() for one in sample.values())
        total = each * sum(len(data.splits[name]) for name in names)
        free = psutil.virtual_memory().available
        if not sample or total > min(MOST_BYTES, free / SHARE_OF_FREE):
            return {}
        self._matrices = noting.found
        return {
            name: self._of_split(data, name, sizes[name], noting.found, sample) for name in names
        }

    def _of_split(
        self,
        data: ImageBatches,
        split: SplitName,
        size: int,
        products: dict[Key, FrozenProduct],
        sample: dict[Key, Tensor],
    ) -> dict[Key, Tensor]:
        count = len(data.splits[split])
        known = {k: t for k, t in self._before.get(split, {}).items() if k in sample}
        tables = {
            key: one.new_empty(count, *one.shape[1:])
            for key, one in sample.items()
            if key not in known
        }
        for rows in torch.split(torch.arange(count), size) if tables else ():
            inputs = data.of_rows(split, rows)
            for key, table in tables.items():
                with self._autocast():
                    table[rows[0] : rows[-1] + 1] = products[key].of(inputs)
        return known | tables

    @torch.no_grad()
    def _agrees(self, data: ImageBatches, split: SplitName, rows: Tensor) -> bool:
        """Compute a batch in both ways, and say whether they agree to the last bit."""
        inputs, together = data.of_rows(split, rows), split != "train"
        size = len(rows) // (1 if together else self.orders)
        comparing = Comparing(self._tables[split], inputs, rows)
        with _evaluating(self.pack), self._autocast():
            computed = self.pack(inputs, size, together=together, known=comparing)
            if self.needs_images or not comparing.same:
                return comparing.same
            nothing = self._nothing(data, len(rows))
            known = KnownRows(self._tables[split], nothing, rows)
            return torch.equal(computed, self.pack(nothing, size, together=together, known=known))

    def _looks_at_images(self) -> bool:
        """Take a training step from what is known alone, and one from images as well."""
        data = self.data
        assert isinstance(data, ImageBatches)
        size = min(data.batch_size, len(data.splits["train"]))
        count = self.orders * size
        rows = torch.arange(count) % len(data.splits["train"])
        outcomes = []
        for inputs in (data.of_rows("train", rows), self._nothing(data, count)):
            known = KnownRows(self._tables["train"], inputs, rows)
            self.pack.reseed([0] * self.pack.count, [0] * self.pack.count)
            with self._autocast():
                logits = self.pack(inputs, size, known=known)
            torch.autograd.backward(logits.square().sum())
            gradients = [p.grad for p in self.pack.parameters() if p.grad is not None]
            outcomes.append([logits.detach(), *gradients])
            for parameter in self.pack.parameters():
                parameter.grad = None
        from_images, from_nothing = outcomes
        return len(from_images) != len(from_nothing) or not all(
            map(torch.equal, from_images, from_nothing)
        )

    def _nothing(self, data: ImageBatches, rows: int) -> Tensor:
        """Return what stands in for images that nobody looks at: no numbers, and no memory."""
        nan = torch.full((), float("nan"), dtype=data.dtype)
        return nan.expand(rows, *self._image)

    def _autocast(self) -> Any:
        return autocast(self.device.torch, self.device.precision)


@contextmanager
def _evaluating(pack: PackedModel) -> Iterator[None]:
    in_training = [module for module in pack.modules() if module.training]
    pack.eval()
    try:
        yield
    finally:
        for module in in_training:
            module.training = True
