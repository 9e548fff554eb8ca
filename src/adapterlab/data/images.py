"""Cuts image splits into whole batches.

The images stay one uint8 tensor. A batch is cut from it by an index tensor, moved to the device,
and only there augmented and normalised.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from adapterlab.base.errors import ConfigError
from adapterlab.base.seeding import stream
from adapterlab.data.batches import EVALUATED, Order, SplitBatches, SplitName, rows_of_epoch
from adapterlab.data.pixels import Pixels
from adapterlab.data.recipes import Recipes
from adapterlab.data.splits import ImageSplit
from adapterlab.data.transforms import Augment, Normalize


class Batch(NamedTuple):
    """What a model sees: ``inputs`` floating point ``[B, C, H, W]``, ``labels`` int64 ``[B]``.

    With features attached, ``inputs`` holds ``hidden_states`` ``[B, ...]`` and their ``depth``.
    """

    inputs: Any
    labels: Tensor


class Draw(NamedTuple):
    """Which rows make a batch, and the seed of its augmentation (None: not augmented)."""

    indices: Tensor
    seed: int | None


class RawBatch(NamedTuple):
    """A batch as cut from memory: ``images`` uint8 ``[B, C, H, W]``, ``labels``, and the seed.

    With a ``depth`` above 0, ``images`` are features of them.
    """

    images: Tensor
    labels: Tensor
    seed: int | None
    depth: int = 0


class ImageFeatures(NamedTuple):
    """What the first ``depth`` blocks of a model make of a split's images: ``values`` [N, ...].

    They are ``mixed`` where they were computed in half precision.
    """

    values: Tensor
    depth: int
    mixed: bool = False


class ShuffledDraws(Sampler[Draw]):
    """Batches of one epoch in random order; every row is in exactly one unless shares are given.

    The order is a function of ``(seed, epoch)`` alone, and a batch's augmentation seed of
    ``(seed, epoch, batch index)``: a resumed run meets the batches it would have met anyway.

    Args:
        size: number of rows.
        batch_size: rows per batch; the last one may have fewer.
        seed: the data-order seed.
        shares: see `rows_of_epoch`.
    """

    def __init__(self, size: int, batch_size: int, seed: int, shares: Tensor | None = None) -> None:
        self.size, self.batch_size, self.seed, self.shares = size, batch_size, seed, shares
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to be drawn next; Lightning calls this."""
        self.epoch = epoch

    def rows(self) -> Tensor:
        """Return the rows of the epoch in their order."""
        order = torch.Generator().manual_seed(stream(self.seed, "order", self.epoch))
        return rows_of_epoch(self.size, order, self.shares)

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[Draw]:
        # A generator on purpose: Lightning makes the iterator before it sets the epoch.
        epoch, rows = self.epoch, self.rows()
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

    def __init__(self, split: ImageSplit, features: ImageFeatures | None = None) -> None:
        self.split = split
        self.rows = features or ImageFeatures(split.images, 0)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, draw: Draw) -> RawBatch:
        # Whole rows by `index_select`: several times faster than indexing does it.
        images, labels = (
            rows.index_select(0, draw.indices) for rows in (self.rows.values, self.split.labels)
        )
        return RawBatch(images, labels, draw.seed, self.rows.depth)


class ImageBatches(SplitBatches[ImageSplit, Batch]):
    """Training, validation and test batches of an image data set.

    Training batches are shuffled and augmented; all other batches are in file order, unaugmented,
    and of one size, so that evaluating twice adds up the same numbers in the same order. Batches
    of :meth:`loader` are :class:`RawBatch`, and :class:`Batch` once they are on their device and
    :meth:`prepared`; :meth:`batches` yields the latter.

    Args:
        mean: of the pixels in [0, 1], per channel (see :class:`Normalize`).
        std: likewise.
        crop: padding of the random crop in pixels, 0 for none; it follows ``order_seed``.
        flip: mirror training images with probability one half.
        recipes: transforms of torchvision after these, see :class:`Recipes`.
        pixels: what the model takes, where it says so: a size, and figures of its own.
        eval_batch_size: rows per batch in evaluation.
        dtype: of the normalised images.
        arguments: see :class:`~adapterlab.data.batches.SplitBatches`.

    Raises:
        ConfigError: an argument outside its domain, or statistics that do not fit the channels.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        crop: int = 0,
        flip: bool = False,
        recipes: Sequence[str] = (),
        pixels: Pixels | None = None,
        eval_batch_size: int = EVALUATED["image"],
        dtype: torch.dtype = torch.float32,
        **arguments: Any,
    ) -> None:
        super().__init__(eval_batch_size=eval_batch_size, **arguments)
        self.shape = self.splits["train"].shape
        self.dtype = dtype
        self.pixels = pixels or Pixels()
        mean, std = self.pixels.mean or mean, self.pixels.std or std
        self.normalize = Normalize(mean, std, channels=self.shape[0])
        self.augment = Augment(crop=crop, flip=0.5 if flip else 0.0)
        self.recipes = Recipes(recipes, self.shape[1:])

    @property
    def augments(self) -> bool:
        """Whether training images are changed, and so are others in every epoch."""
        return self.augment.active or bool(self.recipes)

    @property
    def has_features(self) -> bool:
        """Whether batches of any split carry features."""
        return bool(self._features)

    def attach(self, split: SplitName, features: ImageFeatures) -> None:
        """Let the batches of a split carry features, in place of images, from now on.

        Raises:
            ConfigError: a split that does not exist, or features of other images.
        """
        self._require(split)
        if len(features.values) != (rows := len(self.splits[split])):
            raise ConfigError(f"{split} has {rows} images, and {len(features.values)} features")
        self._features[split] = features

    def prepared(self, cut: RawBatch) -> Batch:
        """Augment (training batches only), resize and normalise a batch where it now lies."""
        images = cut.images
        if cut.depth:
            return Batch({"hidden_states": images, "depth": cut.depth}, cut.labels)
        if cut.seed is not None and self.augment.active:
            generator = torch.Generator(images.device).manual_seed(cut.seed)
            images = self.augment(images, generator)
        if cut.seed is not None and self.recipes:
            images = self.recipes(images, stream(cut.seed, "recipes"))
        return Batch(self.normalize(self.pixels.resized(images)).to(self.dtype), cut.labels)

    def side_by_side(
        self, orders: Sequence[Order], device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """The batches of an epoch in several orders, the rows of one order after the other's."""
        alone = self.augments or self.workers or self.pin_memory
        if alone and not self._features:
            yield from super().side_by_side(orders, device)
            return
        # One cut for all orders takes a fraction of the time of one for each.
        draws = (Draw(rows, None) for rows in self.rows_side_by_side(orders))
        yield from self._moved(map(self._dataset("train").__getitem__, draws), device)

    def rows_side_by_side(self, orders: Sequence[Order]) -> Iterator[Tensor]:
        """Which training rows the batches of :meth:`side_by_side` are of, int64 ``[G·B]``."""
        drawn = [self.in_order(seed)._shuffled(epoch).rows() for seed, epoch in orders]
        for batch in torch.split(torch.stack(drawn), self.batch_size, dim=1):
            yield batch.flatten()

    def of_rows(self, split: SplitName, rows: Tensor) -> Tensor:
        """Some rows of a split as a model sees them in evaluation."""
        cut = RawBatch(self.splits[split].images.index_select(0, rows), rows, None)
        return cast(Tensor, self.prepared(cut).inputs)

    def order(self, split: SplitName) -> Tensor:
        """The rows of a split as :meth:`batches` yields them: in file order, int64 ``[N]``."""
        self._require(split)
        return torch.arange(len(self.splits[split]))

    def _shuffled(self, epoch: int) -> ShuffledDraws:
        size = len(self.splits["train"])
        draws = ShuffledDraws(size, self.batch_size, self.order_seed, self.shares)
        draws.set_epoch(epoch)
        return draws

    def _ordered(self, split: SplitName) -> OrderedDraws:
        return OrderedDraws(len(self.splits[split]), self.eval_batch_size)

    def _dataset(self, split: SplitName) -> _InMemory:
        return _InMemory(self.splits[split], self._features.get(split))
