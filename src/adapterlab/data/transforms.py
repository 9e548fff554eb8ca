"""What is done to whole batches of images: shape, normalisation, augmentation."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.base.errors import ConfigError
from adapterlab.base.memory_limits import require_bytes
from adapterlab.data.splits import ImageSplit, ImageSplits

_CHUNK_BYTES = 64 * 2**20  # of the larger of source and target, so that peak memory stays bounded


def to_shape(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Bring images to another size and number of channels.

    Sizes change by bilinear interpolation with antialiasing. Grayscale becomes RGB by repetition;
    RGB becomes grayscale by the luminance of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, in the
    fixed-point arithmetic of Pillow, so that both decode to the same values.

    Args:
        images: uint8 ``[N, C, H, W]``.
        shape: the wanted ``(C, H, W)``.

    Returns:
        uint8 ``[N, *shape]``; the argument itself where nothing changes.

    Raises:
        ConfigError: a change of channels other than 1 to 3 or 3 to 1, a size below 1, or more
            than this machine's memory.
    """
    n, channels, height, width = images.shape
    if (channels, height, width) == shape:
        return images
    if channels != shape[0] and {channels, shape[0]} != {1, 3}:
        raise ConfigError(f"images of {channels} channels cannot get {shape[0]}; allowed: 1, 3")
    if min(shape) < 1:
        raise ConfigError(f"image shape {shape} is empty; allowed: (C, H, W), each at least 1")
    largest = max(channels * height * width, shape[0] * shape[1] * shape[2])
    chunk = max(1, _CHUNK_BYTES // largest)
    needed = n * shape[0] * shape[1] * shape[2]
    require_bytes(needed, f"dataset.shape={list(shape)}", f"{n:,} images")
    out = torch.empty((n, *shape), dtype=torch.uint8)
    for start in range(0, n, chunk):
        part = images[start : start + chunk]
        if channels == 3 and shape[0] == 1:
            part = _luminance(part)
        if (height, width) != shape[1:]:
            part = F.interpolate(part, size=shape[1:], mode="bilinear", antialias=True)
        out[start : start + chunk] = part  # grayscale to RGB: broadcasting repeats the channel
    return out


def _luminance(images: Tensor) -> Tensor:
    red, green, blue = images.to(torch.int32).unbind(dim=1)
    gray = (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16
    return gray.to(torch.uint8)[:, None]


def splits_to_shape(splits: ImageSplits, shape: tuple[int, int, int] | None) -> ImageSplits:
    """The data set with every image brought to ``shape`` by :func:`to_shape`; None: as it is."""
    if shape is None or splits.train.shape == shape:
        return splits

    def reshaped(split: ImageSplit) -> ImageSplit:
        return ImageSplit(to_shape(split.images, shape), split.labels)

    validation = None if splits.validation is None else reshaped(splits.validation)
    return replace(
        splits, train=reshaped(splits.train), test=reshaped(splits.test), validation=validation
    )


class Normalize:
    """``(pixel / 255 - mean) / std`` per channel.

    Args:
        mean: per channel, or one for all, in units of pixels in [0, 1].
        std: likewise, above 0.
        channels: the channels of the images to come. Where the statistics were given for another
            number (the images became RGB or grayscale), one value is repeated for each channel,
            and several are averaged into one.

    Raises:
        ConfigError: statistics of another length, or a standard deviation that is not positive.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], channels: int) -> None:
        self.mean = _per_channel("mean", mean, channels)
        self.std = _per_channel("std", std, channels)
        if not min(self.std) > 0:
            raise ConfigError(f"std is {list(std)}; allowed: numbers above 0")
        mean_, std_ = (torch.tensor(v, dtype=torch.float64) for v in (self.mean, self.std))
        self._scale = (1 / (255 * std_)).float()[:, None, None]
        self._shift = (-mean_ / std_).float()[:, None, None]

    def __call__(self, images: Tensor) -> Tensor:
        """Uint8 ``[B, C, H, W]`` to float32 of the same shape, on the images' device."""
        if self._scale.device != images.device:
            self._scale = self._scale.to(images.device)
            self._shift = self._shift.to(images.device)
        return images.float().mul_(self._scale).add_(self._shift)


def _per_channel(name: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if len(values) == channels:
        return tuple(values)
    if len(values) == 1:
        return tuple(values) * channels
    if channels == 1 and values:
        return (sum(values) / len(values),)
    raise ConfigError(
        f"{name} has {len(values)} values for images of {channels} channels; "
        f"allowed: {channels} values, or 1 for all"
    )


class Augment:
    """Random shifted crop and horizontal flip, drawn for each image, done to the batch at once.

    The crop is that of the residual network paper (He et al., 2016, https://arxiv.org/abs/1512.03385,
    section 4.2): pad with black, then cut the original size at a random place.

    Args:
        crop: padding on each side in pixels; images shift by up to as much. 0: no crop.
        flip: probability that an image is mirrored left to right. 0: no flip.

    Raises:
        ConfigError: a negative padding, or a probability outside of [0, 1].
    """

    def __init__(self, *, crop: int = 0, flip: float = 0.0) -> None:
        if crop < 0:
            raise ConfigError(f"crop padding is {crop}; allowed: 0 or more pixels")
        if not 0 <= flip <= 1:
            raise ConfigError(f"flip probability is {flip}; allowed: 0 to 1")
        self.crop, self.flip = crop, flip

    @property
    def active(self) -> bool:
        """Whether it changes images at all."""
        return self.crop > 0 or self.flip > 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment ``[B, C, H, W]``; the generator lives on the images' device."""
        if not self.active:
            return images
        batch, channels, height, width = images.shape
        device, pad = images.device, self.crop
        top, left = torch.randint(0, 2 * pad + 1, (2, batch, 1), generator=generator, device=device)
        mirrored = torch.rand((batch, 1), generator=generator, device=device) < self.flip
        rows = top + torch.arange(height, device=device)  # [B, H], into the padded image
        columns = left + torch.arange(width, device=device)  # [B, W]
        columns = torch.where(mirrored, columns.flip(1), columns)
        padded = F.pad(images, (pad, pad, pad, pad)).flatten(2)
        # One gather by flat pixel numbers: a seventh of the time of indexing by rows and columns.
        pixels = rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]  # [B, H, W]
        pixels = pixels.view(batch, 1, height * width).expand(-1, channels, -1)
        return padded.gather(2, pixels).view_as(images)
