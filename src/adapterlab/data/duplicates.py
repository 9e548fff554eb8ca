"""Which examples of a data set are the same, and which are all but empty."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from adapterlab.base.cache import Entry, stored
from adapterlab.config.class_names import folded
from adapterlab.data.splits import ImageSplit, TextSplit

_FORMAT = 1  # raise it whenever examples are compared otherwise
_SMALL = 5_000
"""So many examples are compared as fast as the answer is read from a file."""


def alike(
    splits: Mapping[str, ImageSplit] | Mapping[str, TextSplit], key: str, cache: Path
) -> dict[str, Tensor]:
    """Number the examples of some splits so that equal ones have one number.

    Images are equal by their pixels; texts by their characters but for case, white space and
    Unicode's compatible forms (:func:`~adapterlab.config.class_names.folded`). Labels have no say.
    An example that says next to nothing counts from -1 down: an image of one colour, a text of at
    most one letter or of punctuation alone.

    Args:
        splits: by name; images of one shape.
        key: changes whenever an example does.
        cache: folder for the answer, where there are many examples.

    Returns:
        Of each split int64 ``[N]``.
    """

    def build() -> Entry:
        return Entry(_numbered(splits), {})

    if sum(map(len, splits.values())) < _SMALL:
        return build().tensors
    return stored(cache, "alike", [_FORMAT, key, unicodedata.unidata_version], build).tensors


def _numbered(
    splits: Mapping[str, ImageSplit] | Mapping[str, TextSplit],
) -> dict[str, Tensor]:
    numbers: dict[bytes, int] = {}

    def number(digest: bytes, says_something: bool) -> int:
        counted = numbers.setdefault(digest, len(numbers))
        return counted if says_something else -1 - counted

    return {
        name: torch.tensor(
            [
                number(*row)
                for row in (
                    _images(split) if isinstance(split, ImageSplit) else _texts(split.texts)
                )
            ]
        )
        for name, split in splits.items()
    }


def _images(split: ImageSplit) -> Iterator[tuple[bytes, bool]]:
    images = split.images.contiguous().numpy()
    channels = images.reshape(*images.shape[:2], -1)
    first, middle, last = (channels[:, :, i] for i in (0, channels.shape[2] // 2, -1))
    doubtful = ((first == middle) & (first == last)).all(axis=1)
    for pixels, in_doubt in zip(channels, doubtful.tolist(), strict=True):
        yield _digest(pixels.data), not in_doubt or bool((pixels != pixels[:, :1]).any())


def _texts(texts: Iterable[str]) -> Iterator[tuple[bytes, bool]]:
    for text in texts:
        plain = folded(text)
        yield _digest(plain.encode()), _says_something(plain)


def _says_something(text: str) -> bool:
    letters = 0
    for sign in text:
        if unicodedata.category(sign)[0] in "LNS":  # letters, numbers, symbols
            letters += 1
            if letters > 1 or not sign.isascii():  # one ideograph is a word
                return True
    return False


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
