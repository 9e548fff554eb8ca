"""Training batches with augmentation, ours and those of a torchvision dataset in a DataLoader.

A line asks for a pass over all batches: `["trivial", "AdapterLab"]`, `["trivial", "2"]` for a
DataLoader's with two workers. Both sides cut batches of 128 out of the same uint8 images, augment
and normalise them. Theirs is the ordinary way: rows of PIL images as torchvision's data sets give
them, and transforms v2 image by image. Ours is what a run does.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import adapterlab.base.torchvision_compat  # noqa: F401  # before torchvision

# isort: split

import asked
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from adapterlab.data.images import ImageBatches
from adapterlab.data.splits import ImageSplit

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
BATCH, IMAGES, SIDE = 128, 2_000, 32
WORKERS = (0, 1, 2)
OURS: dict[str, dict[str, Any]] = {
    "crop and flip": {"crop": 4, "flip": True},
    "trivial": {"recipes": ("trivial",)},
    "randaugment": {"recipes": ("randaugment",)},
    "color": {"recipes": ("color",)},
    "resized_crop": {"recipes": ("resized_crop",)},
}


def theirs(name: str, side: int) -> list[Callable[[Any], Any]]:
    """Return the transforms that do the same to an image."""
    return {
        "crop and flip": [v2.RandomCrop(side, padding=4), v2.RandomHorizontalFlip()],
        "trivial": [v2.TrivialAugmentWide()],
        "randaugment": [v2.RandAugment()],
        "color": [v2.ColorJitter(0.4, 0.4, 0.4)],
        "resized_crop": [v2.RandomResizedCrop(side, scale=(0.35, 1.0), antialias=True)],
    }[name]


class Rows(Dataset[tuple[Any, int]]):
    """Images as torchvision's data sets give them: one PIL image, transformed."""

    def __init__(self, pixels: torch.Tensor, transform: Callable[[Any], Any]) -> None:
        self.pixels, self.transform = pixels.permute(0, 2, 3, 1).contiguous().numpy(), transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.pixels[row])), row % 10


def loaded(rows: Rows, workers: int) -> Iterator[Any]:
    """Return batches of a DataLoader."""
    return iter(DataLoader(rows, BATCH, shuffle=True, num_workers=workers))


@cache
def sides(name: str, images: int, side: int) -> dict[str, Callable[[], Iterator[Any]]]:
    """Return what yields all training batches: ours, and a DataLoader's by its workers."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, side, side), dtype=torch.uint8, generator=generator)
    labels = torch.arange(images) % 10
    few = ImageSplit(pixels[:BATCH], labels[:BATCH])
    ours = ImageBatches(
        train=ImageSplit(pixels, labels),
        validation=few,
        test=few,
        classes="0123456789",
        batch_size=BATCH,
        order_seed=0,
        mean=MEAN,
        std=STD,
        **OURS[name],
    )
    steps = [*theirs(name, side), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    rows = Rows(pixels, v2.Compose([*steps, v2.Normalize(MEAN, STD)]))
    loaders = {str(n): partial(loaded, rows, n) for n in WORKERS}
    return {"AdapterLab": partial(ours.training_batches, 0), **loaders}


def turn_of(recipe: str, side: str) -> Callable[[], object]:
    """Return a pass over all batches."""
    batches = sides(recipe, IMAGES, SIDE)[side]
    return lambda: sum(1 for _ in batches())


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked.answer(turn_of)
