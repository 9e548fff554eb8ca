"""Real data that comes with an installed library, so that it needs no download."""

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits

from adapterlab.base.errors import ConfigError
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.splits import ImageSplit, ImageSplits, stratified_cut
from adapterlab.data.transforms import splits_to_shape

_TEST_FRACTION = 0.2
_TEST_SEED = 0  # part of the data set's definition here: another value is another test split


def digits(context: LoadContext, rotation: int = 0) -> ImageSplits:
    """The 1,797 handwritten 8x8 digits of scikit-learn, perhaps rotated.

    They are the test part of UCI's Optical Recognition of Handwritten Digits
    (https://doi.org/10.24432/C50P49). The values 0 to 16 are scaled to 0 to 255. scikit-learn gives
    no official test split: a stratified fifth with a fixed seed is the test split here, the same
    rows for every rotation.

    Args:
        context: only its shape matters here.
        rotation: degrees counterclockwise, a multiple of 90.

    Raises:
        ConfigError: a rotation that is no multiple of 90.
    """
    if rotation % 90:
        raise ConfigError(f"rotation is {rotation}; allowed: multiples of 90 degrees")
    bunch = _read_digits()
    scaled = (torch.from_numpy(bunch.images) * (255 / 16)).round().to(torch.uint8)
    images = torch.rot90(scaled, k=rotation // 90 % 4, dims=(1, 2))[:, None].contiguous()
    labels = torch.from_numpy(bunch.target).long()
    train, test = stratified_cut(labels, _TEST_FRACTION, _TEST_SEED)
    splits = ImageSplits(
        train=ImageSplit(images[train], labels[train]),
        test=ImageSplit(images[test], labels[test]),
        classes=tuple(str(name) for name in bunch.target_names),
        notes=(
            f"digits has no official test split: {len(test):,} of its {len(labels):,} images, "
            "cut by class with a fixed seed, are the test split here",
        ),
    )
    return splits_to_shape(splits, context.shape)


@cache
def _read_digits() -> Any:
    """Read them once a process: they are a zipped table in text, and take 40 ms."""
    return load_digits()
