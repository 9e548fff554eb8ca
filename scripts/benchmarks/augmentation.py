"""Training batches with augmentation, against a torchvision dataset in a DataLoader.

    python scripts/benchmarks/augmentation.py                     # 10,000 images of 3x32x32
    python scripts/benchmarks/augmentation.py --images 2000 --side 64 --augment trivial

Both sides cut batches of 128 out of the same uint8 images, augment and normalise them. Theirs is
the ordinary way: rows of PIL images as torchvision's data sets give them, transforms v2 image by
image, and each number of workers; the quickest by wall time counts. Ours is what a run does. In
turn, three times; medians of CPU seconds (user and system, workers counted) and of wall seconds.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import adapterlab.base.torchvision_compat  # noqa: F401  # before torchvision

# isort: split

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from adapterlab.data.images import ImageBatches
from adapterlab.data.splits import ImageSplit

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
BATCH, TURNS = 128, 3
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


def took(batches: Callable[[], Iterator[Any]]) -> tuple[float, float]:
    """Return CPU and wall seconds of going through all batches; workers have ended by then."""
    before, start = cpu(), time.perf_counter()
    for _ in batches():
        pass
    return cpu() - before, time.perf_counter() - start


def cpu() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--augment", nargs="*", choices=OURS, default=list(OURS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shape = (asked.images, 3, asked.side, asked.side)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.arange(asked.images) % 10
    split = ImageSplit(pixels, labels)
    few = ImageSplit(pixels[:BATCH], labels[:BATCH])
    table = Table("augment", "side", "CPU s", "wall s", "CPU ratio", "wall ratio")
    for name in asked.augment:
        ours = ImageBatches(
            train=split,
            validation=few,
            test=few,
            classes="0123456789",
            batch_size=BATCH,
            order_seed=0,
            mean=MEAN,
            std=STD,
            **OURS[name],
        )
        steps = [*theirs(name, asked.side), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        rows = Rows(pixels, v2.Compose([*steps, v2.Normalize(MEAN, STD)]))
        sides: dict[str, Callable[[], Iterator[Any]]] = {
            "AdapterLab": partial(ours.training_batches, 0),
            **{f"DataLoader, {n} workers": partial(loaded, rows, n) for n in WORKERS},
        }
        found = {side: [took(batches) for _ in range(TURNS)] for side, batches in sides.items()}
        medians = {
            side: tuple(statistics.median(column) for column in zip(*times, strict=True))
            for side, times in found.items()
        }
        best = min((side for side in sides if side != "AdapterLab"), key=lambda s: medians[s][1])
        for side, (cpu_seconds, wall) in medians.items():
            ratios = ("", "")
            if side == "AdapterLab":
                ratios = (f"{cpu_seconds / medians[best][0]:.2f}", f"{wall / medians[best][1]:.2f}")
            star = " (best)" if side == best else ""
            table.add_row(name, side + star, f"{cpu_seconds:.2f}", f"{wall:.2f}", *ratios)
    Console().print(table)


if __name__ == "__main__":
    main()
