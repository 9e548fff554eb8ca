"""Augmentation by torchvision's transforms, each image by draws of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from adapterlab.base.errors import ConfigError, allowed

NAMES = ("trivial", "randaugment", "color", "resized_crop")


class Recipes:
    """Transforms of torchvision, one after the other, on a batch where it lies.

    Every image has draws of its own. They come from a seed, so that a batch is augmented the same
    whoever else is trained on it, and torch's generators are left as they were.

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
        self._made: list[Callable[[Tensor], Tensor]] | None = None

    def __bool__(self) -> bool:
        return bool(self.names)

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Augment uint8 ``[B, C, H, W]``."""
        if not self.names:
            return images
        self._made = self._made or _transforms(self.names, self.size)
        # torchvision draws what to do from torch's own generator of the CPU.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            augmented = []
            for image in images:
                for transform in self._made:
                    image = transform(image)
                augmented.append(image)
        return torch.stack(augmented)


def _transforms(names: Sequence[str], size: tuple[int, int]) -> list[Callable[[Tensor], Tensor]]:
    import adapterlab.base.torchvision_compat  # noqa: F401  # before torchvision, see there

    # isort: split

    from torchvision.transforms import v2  # which takes a second

    made: dict[str, Callable[[], Any]] = {
        "trivial": v2.TrivialAugmentWide,
        "randaugment": v2.RandAugment,
        "color": lambda: v2.ColorJitter(0.4, 0.4, 0.4),
        "resized_crop": lambda: v2.RandomResizedCrop(size, scale=(0.35, 1.0), antialias=True),
    }
    return [made[name]() for name in names]
