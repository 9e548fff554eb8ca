"""Turns encoded images (PNG, JPEG, ...) into uint8 tensors, in threads, with a progress bar."""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from os import cpu_count
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, ImageColor, ImageOps
from rich.console import Console
from rich.progress import track
from torch import Tensor

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.base.memory_limits import require_bytes

Pixels = npt.NDArray[np.uint8]  # [H, W] grayscale or [H, W, 3] RGB
Size = tuple[int, int]  # height, width

_CHUNK = 256
_FRAMES, _BRIGHTEST, _DEEP_COLOUR = "frames", "brightest", "deep colour"
_SMALL_BYTES = 4096  # CIFAR-10 has 300 to 3,000 bytes an image
_DECODED = ("PNG", "JPEG", "MPO", "BMP", "DIB", "WEBP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")

_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations that change height and width
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_MOST_OF_8, _MOST_OF_16 = 255, 65_535

SAID = 2
"""A part of a cache's key: raise it whenever more is said of images that were decoded before."""

_GRAY = ("1", "L", "LA")
_COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")


@dataclass(frozen=True)
class Encoded:
    """The encoded images of one split.

    Args:
        count: how many there are.
        read: the bytes of image i, or the path of its file.
        name: what to call image i in an error.
    """

    count: int
    read: Callable[[int], bytes | Path]
    name: Callable[[int], str]


@dataclass
class Lost:
    """What of the images is not in their pixels; no names, for a cache finds images by content.

    Args:
        background: the colour that transparent images are put on; None drops the transparency.
        transparent: how many are transparent in part.
        moving: how many have several frames.
        deep: how many are gray, of 16 bits.
        brightest: the highest of their values.
        deep_colour: how many have 16 bits a colour, of which Pillow gives the upper 8 only.
        brightest_colour: the highest of these.
        brought: what was done to images of several sizes, in words.
    """

    background: tuple[int, int, int] | None = None
    transparent: int = 0
    moving: int = 0
    deep: int = 0
    brightest: int = 0
    deep_colour: int = 0
    brightest_colour: int = 0
    brought: str = ""
    _lock: Lock = field(default_factory=Lock, repr=False)

    def look(self, image: Image.Image) -> None:
        """Take in an image; threads may do so at once."""
        transparent = image.has_transparency_data and _opacity(image) < 255
        with self._lock:
            self.transparent += transparent
            self.moving += image.info.get(_FRAMES, 1) > 1
            if (brightest := image.info.get(_BRIGHTEST)) is not None:
                self.deep += 1
                self.brightest = max(self.brightest, brightest)
            if image.info.get(_DEEP_COLOUR):
                self.deep_colour += 1
                brightest = int(np.asarray(image.convert("RGB")).max())
                self.brightest_colour = max(self.brightest_colour, brightest)

    def notes(self) -> tuple[str, ...]:
        """What is lost, a sentence each."""
        on = "of which only the colours are seen (dataset.loader.background=white puts them on it)"
        if self.background is not None:
            on = f"put on the colour {list(self.background)}"
        kinds = (
            (self.transparent, f"transparent in part, {on}"),
            (self.moving, "of several frames, of which the first is seen"),
            (
                self.deep,
                "of 16 bits, of which the upper 8 are seen (the highest value is "
                f"{self.brightest:,} of 65,535)",
            ),
            (
                self.deep_colour,
                "of 16 bits a colour, of which the upper 8 are seen (the highest value of these is "
                f"{self.brightest_colour} of 255)",
            ),
        )
        said = tuple(
            f"{count:,} {'image is' if count == 1 else 'images are'} {what}"
            for count, what in kinds
            if count
        )
        return (*said, *([self.brought] if self.brought else []))


def decode(
    parts: Sequence[Encoded],
    shape: tuple[int, int, int] | None,
    title: str,
    lost: Lost | None = None,
    fallback: tuple[int, int, int] | None = None,
) -> list[Tensor]:
    """Decode all parts to one shape.

    With a shape, images are resized as they are decoded, bilinearly with antialiasing, and made
    grayscale (ITU-R BT.601 luminance) or RGB. Without one they keep their common size, and are RGB
    unless all of them are grayscale. A camera's orientation tag is obeyed; transparency is dropped
    unless there is a background for it; of 16 bits the upper 8 are kept.
    A file that lacks no more than its trailer counts as whole: every pixel is there.

    Args:
        parts: the splits.
        shape: the wanted ``(C, H, W)``, C being 1 or 3.
        title: what the progress bar calls the data; nothing is shown where it is empty.
        lost: takes what is not in the pixels, and says what transparent ones are put on.
        fallback: the shape for images of several sizes where none is wanted; None refuses them.

    Returns:
        For each part uint8 ``[count, C, H, W]``.

    Raises:
        ConfigError: a shape of other channels, empty, or of more than this machine's memory.
        DataError: an image that cannot be decoded or, without a shape, one of another size; named.
    """
    if shape is None and fallback is not None and (sizes := _sizes(parts)):
        shape = fallback
        if lost is not None:
            lost.brought = f"images of {sizes} are brought to the model's {list(shape)}"
    if shape is not None and (shape[0] not in (1, 3) or min(shape) < 1):
        raise ConfigError(f"image shape is {list(shape)}; allowed: [1,H,W] or [3,H,W]")
    if shape is not None:
        count = sum(part.count for part in parts)
        needed = count * shape[0] * shape[1] * shape[2]
        require_bytes(needed, f"dataset.shape={list(shape)}", f"{count:,} images")
    jobs = [
        (part, range(start, min(start + _CHUNK, part.count)))
        for part in parts
        for start in range(0, part.count, _CHUNK)
    ]

    def run(job: tuple[Encoded, range]) -> list[Pixels]:
        part, rows = job
        return [_decode_one(part.read(i), part.name(i), shape, lost) for i in rows]

    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        chunks = track(
            map(run, jobs) if _small(parts) else pool.map(run, jobs),
            description=f"decoding {title}",
            total=len(jobs),
            console=Console(stderr=True),
            transient=True,
            disable=not (title and sys.stderr.isatty()),
        )
        decoded = [pixels for chunk in chunks for pixels in chunk]

    if shape is None:
        shape = _common_shape(decoded, [part.name(i) for part in parts for i in range(part.count)])
    images = iter(decoded)
    return [_stack(images, part.count, shape) for part in parts]


def _small(parts: Sequence[Encoded]) -> bool:
    """Whether Python, which threads cannot share, takes longer than decoding; told by the first."""
    first = parts[0].read(0)
    size = len(first) if isinstance(first, bytes) else first.stat().st_size
    return size < _SMALL_BYTES


def _decode_one(
    content: bytes | Path, name: str, shape: tuple[int, int, int] | None, lost: Lost | None
) -> Pixels:
    image = _load(content, name)
    image = _of_8_bits(image)
    if lost is not None:
        lost.look(image)
        if lost.background is not None and image.has_transparency_data:
            image = _put_on(image, lost.background)
    if image.mode not in (*_GRAY, *_COLOUR):
        raise DataError(
            f"{name} has pixels of mode {image.mode}; allowed: 8-bit or 16-bit grayscale, or colour"
        )
    gray = image.mode in _GRAY if shape is None else shape[0] == 1
    image = image.convert("L" if gray else "RGB")
    if shape is not None and image.size != (shape[2], shape[1]):
        image = image.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    return np.asarray(image)


@cache
def _formats() -> list[str]:
    """Return the formats that Pillow decodes by itself: for EPS, it would start Ghostscript."""
    Image.init()
    return [name for name in _DECODED if name in Image.OPEN]


def background_of(value: str | Sequence[int] | None) -> tuple[int, int, int] | None:
    """Return the colour that an option names.

    Raises:
        ConfigError: it names none.
    """
    if value is None:
        return None
    try:
        colour = ImageColor.getrgb(value) if isinstance(value, str) else tuple(value)
    except ValueError:
        colour = ()
    if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
        raise ConfigError(
            f"dataset.loader.background={value} is no colour; such as white, '#808080' or "
            "[128,128,128]"
        )
    red, green, blue = colour
    return red, green, blue


def _put_on(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    gray = image.mode in _GRAY and len(set(colour)) == 1
    ground = Image.new("RGBA", image.size, (*colour, 255))
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("L" if gray else "RGB")


def _of_8_bits(image: Image.Image) -> Image.Image:
    """An image of 16 bits by its upper 8, and any other as it is."""
    if image.mode not in _DEEP:
        return image
    values = np.asarray(image)
    if image.mode == "I" and not 0 <= values.min() <= values.max() <= _MOST_OF_16:
        return image
    shallow = Image.fromarray((values >> 8).astype(np.uint8))
    shallow.info = {**image.info, _BRIGHTEST: int(values.max())}
    return shallow


def _sizes(parts: Sequence[Encoded]) -> str:
    """The sizes of images in words, read from their headers; empty if they have one."""
    jobs = [(part.read, i, part.name) for part in parts for i in range(part.count)]

    def size(job: tuple[Callable[[int], bytes | Path], int, Callable[[int], str]]) -> Size:
        read, i, name = job
        with _opened(read(i), name(i)) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in _ON_ITS_SIDE
            width, height = image.size
            return (width, height) if turned else (height, width)

    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        found = set(pool.map(size, jobs))
    if len(found) < 2:
        return ""
    least, most = (pick(found, key=lambda one: one[0] * one[1]) for pick in (min, max))
    return f"{len(found):,} sizes, {least[0]}x{least[1]} to {most[0]}x{most[1]} (height x width),"


def _opacity(image: Image.Image) -> int:
    """The least of an image's pixels, 255 being opaque."""
    return int(np.asarray(image.convert("RGBA"))[..., 3].min())


def _load(content: bytes | Path, name: str) -> Image.Image:
    with _opened(content, name) as image:
        frames = getattr(image, "n_frames", 1)  # goes through a GIF, and back: then the pixels
        image.info[_DEEP_COLOUR] = _has_deep_colours(image)
        image.load()
        image.info[_FRAMES] = frames
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            return ImageOps.exif_transpose(image)
        return image


def _has_deep_colours(image: Image.Image) -> bool:
    """Whether Pillow is about to read the upper 8 of 16 bits of each colour, which it never says.

    It names what the file has for its decoder: ``RGB;16B``, or of PPM the highest value.
    """
    if image.mode in _DEEP:
        return False
    for tile in getattr(image, "tile", ()):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(";16" in str(one) for one in arguments if isinstance(one, str)):
            return True
        if tile[0] == "ppm" and isinstance(arguments[-1], int) and arguments[-1] > _MOST_OF_8:
            return True
    return False


@contextmanager
def _opened(content: bytes | Path, name: str) -> Iterator[Image.Image]:
    source: Any = BytesIO(content) if isinstance(content, bytes) else content
    try:
        with Image.open(source, formats=_formats()) as image:
            yield image
    except Exception as error:  # damaged data makes Pillow raise nearly anything
        reason = str(error).replace(repr(source), "it").replace(f"{str(source)!r}", "it")
        raise DataError(
            f"{name} is not an image, or damaged ({reason}); replace or remove it"
        ) from error


def _common_shape(decoded: Sequence[Pixels], names: Sequence[str]) -> tuple[int, int, int]:
    height, width = decoded[0].shape[:2]
    for pixels, name in zip(decoded, names, strict=True):
        if pixels.shape[:2] != (height, width):
            raise DataError(
                f"images differ in size: {names[0]} is {height}x{width}, "
                f"{name} is {pixels.shape[0]}x{pixels.shape[1]} (height x width); "
                f"set dataset.shape, for example dataset.shape=[3,32,32]"
            )
    channels = 3 if any(pixels.ndim == 3 for pixels in decoded) else 1
    return channels, height, width


def _stack(images: Iterator[Pixels], count: int, shape: tuple[int, int, int]) -> Tensor:
    out = np.empty((count, *shape), dtype=np.uint8)
    for row in out:
        pixels = next(images)
        row[:] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(out)
