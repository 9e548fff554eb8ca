"""Torchvision's operations on uint8 images ``[N, C, H, W]``, each image with a number of its own.

Torchvision's take a whole batch at one magnitude. These give the same pixels, for its arithmetic is
kept: products are rounded to float32, and what it adds in one fused step is added in float64, where
numbers of this size are exact, and rounded then. `tests/data/test_recipes.py` compares the two.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Kernel = Callable[[Tensor, Sequence[float]], Tensor]
"""From images and a number for each to images."""


def brightness(images: Tensor, factors: Sequence[float]) -> Tensor:
    """Multiply by factors."""
    return (images * _column(factors, images)).clamp_(0, 255).to(torch.uint8)


def saturation(images: Tensor, factors: Sequence[float]) -> Tensor:
    """Blend with their own grey; grey images stay."""
    if images.shape[1] == 1:
        return images
    return _blended(images, _gray(images), factors)


def contrast(images: Tensor, factors: Sequence[float]) -> Tensor:
    """Blend with the mean of their grey."""
    gray = images.float() if images.shape[1] == 1 else _gray(images)
    mean = gray.mean(dim=(1, 2, 3), keepdim=True)
    return _looked_up(images, _blended(_levels(images), mean, factors))


def sharpness(images: Tensor, factors: Sequence[float]) -> Tensor:
    """Blend, but for the outermost pixels, with a mean of 3 x 3 in which the middle counts 5."""
    height, width = images.shape[2:]
    if height <= 2 or width <= 2:
        return images
    # Whole numbers: a thirteenth of one is never half-way between two, so that all round alike.
    whole = images.to(torch.int16)
    rows = whole[..., :-2, :] + whole[..., 1:-1, :] + whole[..., 2:, :]
    nine = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = nine.add_(whole[..., 1:-1, 1:-1], alpha=4).float().div_(13).round_()
    sharp = images.float()
    inner = sharp[..., 1:-1, 1:-1]
    inner.copy_(_fused(inner, smooth - inner, factors))
    return sharp.clamp_(0, 255).to(torch.uint8)


def posterize(images: Tensor, bits: Sequence[float]) -> Tensor:
    """Keep so many of the highest bits."""
    masks = [256 - (1 << (8 - int(kept))) for kept in bits]
    return images & torch.tensor(masks, dtype=torch.uint8, device=images.device).view(-1, 1, 1, 1)


def solarize(images: Tensor, levels: Sequence[float]) -> Tensor:
    """Invert pixels from a share of the greatest value on."""
    old = _levels(images)
    new = torch.where(old >= _column([255 * one for one in levels], images), ~old, old)
    return _looked_up(images, new)


def identity(images: Tensor, _: Sequence[float]) -> Tensor:
    """Leave images as they are."""
    return images


def autocontrast(images: Tensor, _: Sequence[float]) -> Tensor:
    """Stretch each channel to all values; torchvision's own, which has no number."""
    from torchvision.transforms.v2 import functional

    stretched: Tensor = functional.autocontrast_image(images)
    return stretched


def equalize(images: Tensor, _: Sequence[float]) -> Tensor:
    """Make all values of a channel as frequent; torchvision's own, which has no number."""
    from torchvision.transforms.v2 import functional

    equalized: Tensor = functional.equalize_image(images)
    return equalized


def warped(images: Tensor, matrices: Sequence[Sequence[float]]) -> Tensor:
    """Move pixels: each is the nearest at the place that a matrix of 2 x 3 says, from the centre.

    What lies outside is black.
    """
    height, width = images.shape[2:]
    x, y = (
        torch.linspace((1 - n) / 2, (n - 1) / 2, n, device=images.device) for n in (width, height)
    )
    places = torch.ones(height, width, 3, device=images.device)
    places[..., 0], places[..., 1] = x, y[:, None]
    theta = torch.tensor(matrices, device=images.device).view(-1, 2, 3).transpose(1, 2)
    half = torch.tensor([0.5 * width, 0.5 * height], device=images.device)
    grid = places.view(1, -1, 3).expand(len(images), -1, -1).bmm(theta / half)
    moved = F.grid_sample(
        images.float(),
        grid.view(-1, height, width, 2),
        mode="nearest",
        padding_mode="zeros",
        align_corners=False,
    )
    return moved.round_().to(torch.uint8)


def matrix_of(name: str, magnitude: float, size: tuple[int, int]) -> tuple[float, ...]:
    """Return the matrix by which pixels of an image of a size are found, see `warped`.

    Args:
        name: `ShearX`, `ShearY`, `TranslateX`, `TranslateY` or `Rotate`.
        magnitude: the slope, pixels, or degrees counter-clockwise.
        size: height and width.
    """
    if name == "TranslateX":
        return 1.0, 0.0, -float(int(magnitude)), 0.0, 1.0, 0.0
    if name == "TranslateY":
        return 1.0, 0.0, 0.0, 0.0, 1.0, -float(int(magnitude))
    height, width = size
    if name == "Rotate":
        return _inverse(-(magnitude % 360), 0.0, 0.0, (0.0, 0.0))
    slope = math.degrees(math.atan(magnitude))
    corner = (-0.5 * width, -0.5 * height)
    return _inverse(0.0, *((slope, 0.0) if name == "ShearX" else (0.0, slope)), corner)


def _inverse(
    angle: float, shear_x: float, shear_y: float, center: tuple[float, float]
) -> tuple[float, ...]:
    """Invert a rotation and shears, in degrees, about a centre, in the steps of torchvision."""
    rot, sx, sy = (math.radians(one) for one in (angle, shear_x, shear_y))
    a = math.cos(rot - sy) / math.cos(sy)
    b = -(a * math.tan(sx) + math.sin(rot))
    c = math.sin(rot - sy) / math.cos(sy)
    d = math.cos(rot) - c * math.tan(sx)
    x, y = center
    return d, -b, x - d * x + b * y, -c, a, y + c * x - a * y


def _gray(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(dim=1)
    gray = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    return gray.floor_()[:, None]


def _blended(images: Tensor, others: Tensor, factors: Sequence[float]) -> Tensor:
    scaled = images * _column(factors, images)
    return _fused(scaled, others, factors).clamp_(0, 255).to(torch.uint8)


def _fused(images: Tensor, others: Tensor, factors: Sequence[float]) -> Tensor:
    """Return ``images + (1 - factor) * others``, rounded once."""
    rest = _column([1.0 - factor for factor in factors], images)
    return torch.addcmul(images.double(), others.double(), rest.double()).float()


def _levels(images: Tensor) -> Tensor:
    """Return all that a pixel can be, once for each image, ``[N, 1, 1, 256]``."""
    levels = torch.arange(256, dtype=torch.uint8, device=images.device)
    return levels.expand(len(images), 1, 1, 256)


def _looked_up(images: Tensor, new: Tensor) -> Tensor:
    """Replace each value of an image by what a table ``[N, 1, 1, 256]`` has for it."""
    return new[:, 0, 0].gather(1, images.flatten(1).long()).view_as(images)


def _column(numbers: Sequence[float], images: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32, device=images.device).view(-1, 1, 1, 1)


MOVES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
"""Operations that move pixels: all of them are one `warped`."""

KERNELS: Mapping[str, Kernel] = {
    "Identity": identity,
    "Brightness": lambda images, by: brightness(images, [1.0 + one for one in by]),
    "Color": lambda images, by: saturation(images, [1.0 + one for one in by]),
    "Contrast": lambda images, by: contrast(images, [1.0 + one for one in by]),
    "Sharpness": lambda images, by: sharpness(images, [1.0 + one for one in by]),
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": autocontrast,
    "Equalize": equalize,
}
"""The other operations of TrivialAugment and RandAugment, by torchvision's names."""
