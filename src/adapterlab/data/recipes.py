"""Augmentation by torchvision's transforms, each image by draws of its own, a batch at a time."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.data.recipe_kernels import (
    KERNELS,
    MOVES,
    brightness,
    contrast,
    matrix_of,
    saturation,
    warped,
)

NAMES = ("trivial", "randaugment", "color", "resized_crop")


class Recipes:
    """Transforms of torchvision, one after the other, on a batch where it lies.

    Every image has draws of its own. They come from a seed, so that a batch is augmented the same
    whoever else is trained on it, and are torchvision's: from one seed, a batch becomes what
    torchvision's transforms make of its images one after the other. Those that drew the same
    operation go through it together.

    Args:
        names: of `trivial` (TrivialAugment, Müller & Hutter 2021, arXiv:2103.10158), `randaugment`
            (Cubuk et al. 2020, arXiv:1909.13719, two operations of magnitude 9), `color`
            (brightness, contrast and saturation by up to 0.4) and `resized_crop` (a part of 0.35
            to 1 of the image, brought back to its size), in their order.
        size: height and width of the images.

    Raises:
        ConfigError: a name is none of them.
    """

    def __init__(self, names: Sequence[str], size: tuple[int, int]) -> None:
        for name in names:
            if name not in NAMES:
                raise ConfigError(f"dataset.augment={list(names)}; {allowed(name, NAMES)}")
        self.names, self.size = tuple(names), size
        self._made: list[_Recipe] | None = None

    def __bool__(self) -> bool:
        return bool(self.names)

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Augment uint8 ``[B, C, H, W]``."""
        if not self.names:
            return images
        self._made = self._made or _recipes(self.names, self.size)
        source = _Source(seed)
        # Image by image, as torchvision's transforms would draw.
        drawn = [[recipe.draw(source) for recipe in self._made] for _ in images]
        for recipe, draws in zip(self._made, zip(*drawn, strict=True), strict=True):
            images = recipe.apply(images, draws)
        return images


class _Source:
    """Random numbers as torchvision's transforms draw them, one at a time.

    Args:
        seed: of torch's generator.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._whole, self._share = torch.empty((), dtype=torch.int64), torch.empty(())

    def below(self, number: int) -> int:
        """Return a whole number from 0."""
        return int(self._whole.random_(0, number, generator=self._generator).item())

    def between(self, least: float, most: float) -> float:
        """Return a number of float32."""
        return self._share.uniform_(least, most, generator=self._generator).item()

    def power(self, least: float, most: float) -> float:
        """Return e to a number of float32, as float32."""
        return self._share.uniform_(least, most, generator=self._generator).exp_().item()

    def order(self, count: int) -> list[int]:
        """Return the numbers below another in some order."""
        order: list[int] = torch.randperm(count, generator=self._generator).tolist()
        return order


class _Recipe(ABC):
    """What is drawn for an image, and what it does to all images of a batch."""

    @abstractmethod
    def draw(self, source: _Source) -> Any:
        """Draw for the next image, as torchvision does."""

    @abstractmethod
    def apply(self, images: Tensor, draws: Sequence[Any]) -> Tensor:
        """Do to each image what was drawn for it."""


class _Policy(_Recipe):
    """TrivialAugment or RandAugment: operations of a space, each at a magnitude.

    Args:
        transform: torchvision's, of which the space is read.
        size: height and width of the images.
        times: operations for an image.
        magnitude: which one of each operation; None draws it.
    """

    def __init__(
        self, transform: Any, size: tuple[int, int], times: int = 1, magnitude: int | None = None
    ) -> None:
        self.bins: int = transform.num_magnitude_bins
        self.space: list[tuple[str, list[float] | None, bool]] = []
        for name, (make, signed) in transform._AUGMENTATION_SPACE.items():
            values = make(self.bins, *size)
            self.space.append((name, None if values is None else values.tolist(), signed))
        self.size, self.times, self.magnitude = size, times, magnitude

    def draw(self, source: _Source) -> list[tuple[str, float]]:
        """Return the operations and their magnitudes."""
        return [self._one(source) for _ in range(self.times)]

    def _one(self, source: _Source) -> tuple[str, float]:
        name, values, signed = self.space[source.below(len(self.space))]
        if values is None:
            return name, 0.0
        place = source.below(self.bins) if self.magnitude is None else self.magnitude
        minus = signed and source.between(0.0, 1.0) <= 0.5
        return name, -values[place] if minus else values[place]

    def apply(self, images: Tensor, draws: Sequence[list[tuple[str, float]]]) -> Tensor:
        """Do the first operation of each image, then the next one."""
        for drawn in zip(*draws, strict=True):
            kinds = ["move" if name in MOVES else name for name, _ in drawn]
            images = _by_kind(images, kinds, drawn, self._together)
        return images

    def _together(self, kind: str, images: Tensor, drawn: Sequence[tuple[str, float]]) -> Tensor:
        if kind == "move":
            return warped(images, [matrix_of(name, by, self.size) for name, by in drawn])
        return KERNELS[kind](images, [by for _, by in drawn])


class _Color(_Recipe):
    """ColorJitter: brightness, contrast and saturation in an order that is drawn."""

    kernels = (brightness, contrast, saturation)

    def __init__(self, by: float) -> None:
        self.least, self.most = 1 - by, 1 + by

    def draw(self, source: _Source) -> tuple[tuple[int, ...], list[float]]:
        """Return the order, and a factor for each; the fourth of torchvision, the hue, stays."""
        order = tuple(kind for kind in source.order(4) if kind < len(self.kernels))
        return order, [source.between(self.least, self.most) for _ in self.kernels]

    def apply(self, images: Tensor, draws: Sequence[tuple[tuple[int, ...], list[float]]]) -> Tensor:
        """Do all three to the images of one order."""
        orders, factors = zip(*draws, strict=True)
        return _by_kind(images, orders, factors, self._together)

    def _together(
        self, order: tuple[int, ...], images: Tensor, factors: Sequence[list[float]]
    ) -> Tensor:
        for kind in order:
            images = self.kernels[kind](images, [each[kind] for each in factors])
        return images


class _ResizedCrop(_Recipe):
    """RandomResizedCrop: a part of the image, brought back to its size with antialiasing."""

    def __init__(self, size: tuple[int, int], least: float) -> None:
        self.size, self.least = size, least
        self.ratios = torch.log(torch.tensor([3 / 4, 4 / 3])).tolist()

    def draw(self, source: _Source) -> tuple[int, int, int, int]:
        """Return top, left, height and width."""
        height, width = self.size
        for _ in range(10):
            area = height * width * source.between(self.least, 1.0)
            ratio = source.power(*self.ratios)
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top = source.below(height - h + 1)
                return top, source.below(width - w + 1), h, w
        return self._middle()

    def _middle(self) -> tuple[int, int, int, int]:
        """Return the middle of an image that is too long for any part of the ratios."""
        height, width = self.size
        low, high = 3 / 4, 4 / 3
        h, w = height, width
        if width / height < low:
            h = round(width / low)
        elif width / height > high:
            w = round(height * high)
        return (height - h) // 2, (width - w) // 2, h, w

    def apply(self, images: Tensor, draws: Sequence[tuple[int, int, int, int]]) -> Tensor:
        """Cut and resize: parts of one width at once, then those of one height.

        Torchvision resizes rows and then columns as well, and rounds in between.
        """
        (high, wide), kind = self.size, images.dtype
        if images.device.type != "cpu":  # where there is no antialiasing of uint8
            images = images.float()
        parts = [
            image[:, :, top : top + height, left : left + width]
            for image, (top, left, height, width) in zip(torch.split(images, 1), draws, strict=True)
        ]
        parts = _resized_along(parts, 3, wide)
        done = torch.cat(_resized_along(parts, 2, high))
        return done if done.dtype == kind else done.round_().to(kind)


def _resized_along(images: Sequence[Tensor], dim: int, length: int) -> list[Tensor]:
    """Bring ``[1, C, H, W]`` to a length along one of the last two; those of one length together.

    They are put one behind the other along the other of the two, which stays as it is.
    """
    done, other = list(images), 5 - dim
    for kind, rows in _rows_of([image.shape[dim] for image in images]).items():
        if kind == length:
            continue
        some = torch.cat([images[row] for row in rows], dim=other)
        size = (length, some.shape[3]) if dim == 2 else (some.shape[2], length)
        some = F.interpolate(some, size, mode="bilinear", antialias=True)
        lengths = [images[row].shape[other] for row in rows]
        for row, one in zip(rows, torch.split(some, lengths, other), strict=True):
            done[row] = one
    return done


def _recipes(names: Sequence[str], size: tuple[int, int]) -> list[_Recipe]:
    import adapterlab.base.torchvision_compat  # noqa: F401  # before torchvision, see there

    # isort: split

    from torchvision.transforms import v2  # which takes a second

    made: dict[str, Callable[[], _Recipe]] = {
        "trivial": lambda: _Policy(v2.TrivialAugmentWide(), size),
        "randaugment": lambda: _Policy(v2.RandAugment(), size, times=2, magnitude=9),
        "color": lambda: _Color(0.4),
        "resized_crop": lambda: _ResizedCrop(size, 0.35),
    }
    return [made[name]() for name in names]


def _by_kind(
    images: Tensor,
    kinds: Sequence[Any],
    drawn: Sequence[Any],
    together: Callable[[Any, Tensor, Sequence[Any]], Tensor],
) -> Tensor:
    """Do something to all images of a kind at once, with what was drawn for them."""
    rows_of = _rows_of(kinds)
    order = torch.tensor(list(chain(*rows_of.values())), device=images.device)
    parts = torch.split(images.index_select(0, order), [len(rows) for rows in rows_of.values()])
    done = [
        together(kind, part, [drawn[row] for row in rows])
        for (kind, rows), part in zip(rows_of.items(), parts, strict=True)
    ]
    return torch.cat(done).index_select(0, order.argsort())


def _rows_of(kinds: Sequence[Any]) -> dict[Any, list[int]]:
    rows: dict[Any, list[int]] = {}
    for row, kind in enumerate(kinds):
        rows.setdefault(kind, []).append(row)
    return rows
