"""MNIST, Fashion-MNIST and CIFAR-10 in the layouts that torchvision and the hub use.

Files on disk are searched first, the network second.
"""

import hashlib
import io
import pickle
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapterlab.base.errors import DataError
from adapterlab.data.origin import Origin
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.download import download
from adapterlab.data.sources.idx import find_idx, read_idx_split
from adapterlab.data.splits import ImageSplit, ImageSplits
from adapterlab.data.superclasses import joined, require_superclasses
from adapterlab.data.transforms import splits_to_shape

_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_DIGITS = tuple("0123456789")
_GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def mnist(context: LoadContext, *, superclasses: dict[str, list[str]] | None = None) -> ImageSplits:
    """MNIST: 60,000 / 10,000 handwritten digits, 28x28 grayscale (LeCun et al., 1998).

    Reads the four idx files, unpacked or ``.gz``, of ``<folder>/MNIST/raw``.

    Args:
        context: where they are.
        superclasses: the classes that each new one consists of; None keeps the ten.

    Raises:
        ConfigError: superclasses that do not fit.
        DataError: neither local files nor a download, or a damaged file, which is named.
    """
    home = "Yann LeCun's MNIST database (yann.lecun.com/exdb/mnist)"
    require_superclasses(superclasses, _DIGITS)
    splits = _idx_data_set("mnist", context, "MNIST", _DIGITS, home)
    return joined("mnist", splits, superclasses)


def fashion_mnist(
    context: LoadContext, *, superclasses: dict[str, list[str]] | None = None
) -> ImageSplits:
    """Fashion-MNIST: 60,000 / 10,000 garments, 28x28 grayscale (Xiao et al., 2017).

    Reads the four idx files, unpacked or ``.gz``, of ``<folder>/FashionMNIST/raw``.

    Args:
        context: where they are.
        superclasses: the classes that each new one consists of; None keeps the ten.

    Raises:
        ConfigError: superclasses that do not fit.
        DataError: neither local files nor a download, or a damaged file, which is named.
    """
    home = "github.com/zalandoresearch/fashion-mnist"
    require_superclasses(superclasses, _GARMENTS)
    splits = _idx_data_set("fashion_mnist", context, "FashionMNIST", _GARMENTS, home)
    return joined("fashion_mnist", splits, superclasses)


def cifar10(
    context: LoadContext, *, superclasses: dict[str, list[str]] | None = None
) -> ImageSplits:
    """CIFAR-10: 50,000 / 10,000 small photographs, 32x32 RGB (Krizhevsky, 2009).

    Reads the python batches in ``<folder>/cifar-10-batches-py``, checked against their published
    md5, or else ``<folder>/cifar10/train.parquet`` and ``test.parquet`` with columns img and label.

    Args:
        context: where they are.
        superclasses: the classes that each new one consists of; None keeps the ten.

    Raises:
        ConfigError: superclasses that do not fit.
        DataError: neither local files nor a download, or a damaged file, which is named.
    """
    require_superclasses(superclasses, _CIFAR10_CLASSES)
    return joined("cifar10", _cifar10(context), superclasses)


def _cifar10(context: LoadContext) -> ImageSplits:
    published = _published("CIFAR10")
    checksums = dict(published.train_list + published.test_list)
    folder = published.base_folder
    for place in context.search:
        if all((place / folder / name).is_file() for name in checksums):
            return _cifar_batches(place / folder, published, context)
        if all((place / "cifar10" / f"{name}.parquet").is_file() for name in ("train", "test")):
            from adapterlab.data.sources.parquet import image_parquet  # loads `datasets`

            splits = image_parquet(context, place / "cifar10", classes=_CIFAR10_CLASSES)
            note = "cifar10 was read from parquet: its pixels cannot be checked against the md5"
            return _sizes_checked("cifar10", splits.with_notes(note), 50_000, 10_000)
    try:
        batches = download(
            lambda root: published(root, download=True),
            context.download,
            folder,
            [*checksums],
        )
    except DataError as error:
        wanted = f"{folder}/{{{','.join(checksums)}}} or cifar10/{{train,test}}.parquet"
        raise _missing(
            "cifar10", wanted, context, "cs.toronto.edu/~kriz/cifar.html", error
        ) from error
    return _cifar_batches(batches, published, context)


def _idx_data_set(
    name: str,
    context: LoadContext,
    published: str,
    classes: tuple[str, ...],
    home: str,
) -> ImageSplits:
    folder = f"{published}/raw"
    for place in (place / folder for place in context.search):
        if all(find_idx(place, file) for file in _IDX_FILES):
            raw = place
            break
    else:
        try:
            raw = download(
                lambda root: _published(published)(root, download=True),
                context.download,
                folder,
                _IDX_FILES,
            )
        except DataError as error:
            wanted = f"{folder}/{{{','.join(_IDX_FILES)}}}, unpacked or .gz"
            raise _missing(name, wanted, context, home, error) from error
    paths = [path for file in _IDX_FILES if (path := find_idx(raw, file))]
    splits = ImageSplits(
        train=read_idx_split(paths[0], paths[1], len(classes)),
        test=read_idx_split(paths[2], paths[3], len(classes)),
        classes=classes,
        origins={"train": Origin(paths[0]), "test": Origin(paths[2])},
    )
    return splits_to_shape(_sizes_checked(name, splits, 60_000, 10_000), context.shape)


def _published(name: str) -> Any:
    """Return torchvision's class of a data set."""
    import adapterlab.base.torchvision_compat  # noqa: F401  # first; together they take a second

    # isort: split
    from torchvision import datasets

    return getattr(datasets, name)


def _cifar_batches(folder: Path, published: Any, context: LoadContext) -> ImageSplits:
    splits = ImageSplits(
        train=_read_batches((folder / name, md5) for name, md5 in published.train_list),
        test=_read_batches((folder / name, md5) for name, md5 in published.test_list),
        classes=_CIFAR10_CLASSES,
    )
    return splits_to_shape(splits, context.shape)


def _read_batches(files: Iterable[tuple[Path, str]]) -> ImageSplit:
    images, labels = [], []
    for path, expected in files:
        content = path.read_bytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != expected:
            raise DataError(
                f"{path} is corrupt: its md5 is {md5}, not {expected}; replace the file"
            )
        with warnings.catch_warnings():
            # The files were pickled by an old NumPy, and a new one says so.
            warnings.simplefilter("ignore")
            batch = _Arrays(io.BytesIO(content), encoding="latin1").load()
        images.append(np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
        labels.extend(batch["labels"])
    return ImageSplit(torch.from_numpy(np.concatenate(images)), torch.tensor(labels))


class _Arrays(pickle.Unpickler):
    """Reads a pickle of arrays, lists and texts; names of anything else are refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what an array is put together with."""
        if (module.replace("numpy._core", "numpy.core"), name) not in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        ):
            raise DataError(f"a batch of CIFAR-10 names {module}.{name}, which is no part of it")
        return super().find_class(module, name)


def _sizes_checked(name: str, splits: ImageSplits, train: int, test: int) -> ImageSplits:
    """Note it where the rows on disk are not the published ones."""
    if (len(splits.train), len(splits.test)) == (train, test):
        return splits
    return splits.with_notes(
        f"{name} here is {len(splits.train):,} train / {len(splits.test):,} test, not the official "
        f"{train:,} / {test:,}: figures are not comparable with published ones"
    )


def _missing(
    name: str, wanted: str, context: LoadContext, home: str, cause: DataError
) -> DataError:
    places = ", ".join(map(str, dict.fromkeys((*context.search, context.download))))
    return DataError(
        f"{name} is not here: {cause}. Wanted: {wanted} in one of {places}, or in a folder "
        f"that data_dir=... or ADAPTERLAB_DATA_DIR names. Source: {home}"
    )
