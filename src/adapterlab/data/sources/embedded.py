"""Real data that comes with an installed library, so that it needs no download."""

from functools import cache

import torch

from adapterlab.base.cache import Entry, stored
from adapterlab.base.errors import ConfigError
from adapterlab.base.revision import version_of
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.splits import ImageSplit, ImageSplits, stratified_cut
from adapterlab.data.transforms import splits_to_shape

_FORMAT = 1  # of what is kept of them
_TEST_FRACTION = 0.2
_TEST_SEED = 0  # part of the data set's definition here: another value is another test split


def digits(context: LoadContext, rotation: int = 0) -> ImageSplits:
    """The 1,797 handwritten 8x8 digits of scikit-learn, perhaps rotated.

    They are the test part of UCI's Optical Recognition of Handwritten Digits
    (https://doi.org/10.24432/C50P49). The values 0 to 16 are scaled to 0 to 255. scikit-learn gives
    no official test split: a stratified fifth with a fixed seed is the test split here, the same
    rows for every rotation.

    Args:
        context: its cache and shape matter here.
        rotation: degrees counterclockwise, a multiple of 90.

    Raises:
        ConfigError: a rotation that is no multiple of 90.
    """
    if rotation % 90:
        raise ConfigError(f"rotation is {rotation}; allowed: multiples of 90 degrees")
    key = [_FORMAT, _TEST_FRACTION, _TEST_SEED, version_of("scikit-learn")]
    read = stored(context.cache, "digits", key, _read_digits)
    images, labels = read.tensors["images"], read.tensors["labels"]
    images = torch.rot90(images, k=rotation // 90 % 4, dims=(1, 2))[:, None].contiguous()
    train, test = read.tensors["train"], read.tensors["test"]
    splits = ImageSplits(
        train=ImageSplit(images[train], labels[train]),
        test=ImageSplit(images[test], labels[test]),
        classes=tuple(read.facts["classes"]),
        notes=(
            f"digits has no official test split: {len(test):,} of its {len(labels):,} images, "
            "cut by class with a fixed seed, are the test split here",
        ),
    )
    return splits_to_shape(splits, context.shape)


@cache
def _read_digits() -> Entry:
    """Read and cut them: a zipped table in text, by a library that takes a second to load."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = torch.from_numpy(bunch.target).long()
    train, test = stratified_cut(labels, _TEST_FRACTION, _TEST_SEED)
    images = (torch.from_numpy(bunch.images) * (255 / 16)).round().to(torch.uint8)
    tensors = {"images": images, "labels": labels, "train": train, "test": test}
    return Entry(tensors, {"classes": [str(name) for name in bunch.target_names]})
