"""Images as a pretrained model takes them: of which size, and how they are normalised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]

PILLOWS: Mapping[Interpolation, int] = {"bilinear": 2, "bicubic": 3}
"""Pillow's numbers of them, which processors of transformers have."""

EVALUATED_ROWS = 64
"""Images of a batch in evaluation where the model says their size, which may be a large one."""


@dataclass(frozen=True)
class Pixels:
    """What a model was trained to see, and images are brought to batch by batch.

    Args:
        channels: of an image; grayscale is repeated over them.
        size: height and width; None takes images as they are.
        mean: of the pixels in [0, 1], per channel; None takes the data set's.
        std: likewise.
        interpolation: how sizes change; with antialiasing.
    """

    channels: int = 3
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: Interpolation = "bilinear"

    def shape(self, given: tuple[int, ...]) -> tuple[int, int, int]:
        """Return the (channels, height, width) that the model sees of images of a shape."""
        height, width = self.size or given[1:]
        return self.channels, height, width

    def resized(self, images: Tensor) -> Tensor:
        """Bring uint8 images ``[B, C, H, W]`` to the size, rounded to whole numbers as files are.

        The images themselves where they have it already.
        """
        if self.size is None or tuple(images.shape[-2:]) == self.size:
            return images
        on_cpu = images.device.type == "cpu"  # elsewhere there is no antialiasing of uint8
        resized = F.interpolate(
            images if on_cpu else images.float(), self.size, mode=self.interpolation, antialias=True
        )
        return resized if on_cpu else resized.round_().clamp_(0, 255).to(torch.uint8)
