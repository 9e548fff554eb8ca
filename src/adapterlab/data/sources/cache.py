"""Keeps decoded images on disk, so that a data set is decoded once."""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

from adapterlab.base.cache import Entry, stored
from adapterlab.base.errors import DataError
from adapterlab.base.files import sha256
from adapterlab.data.splits import ImageSplit, ImageSplits

_FORMAT = 2  # raise it whenever decoding changes, so that older entries are left alone


def fingerprint(files: Iterable[Path]) -> str:
    """What changes when the content of a file does, or their order, and with nothing else.

    Reading files takes a small part of the time that decoding them does. A file that was replaced
    by one of the same size and time, as copies keep it, is another.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        for one in pool.map(_content, files):
            digest.update(one.encode())
    return digest.hexdigest()


def _content(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:  # some name no file
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def cached(folder: Path, name: str, key: object, build: Callable[[], ImageSplits]) -> ImageSplits:
    """The splits stored under ``key``, or else those of ``build``, which are then stored.

    Args:
        folder: the cache folder.
        name: begins the file name, for people who look into the folder.
        key: anything JSON can write, all that the result depends on.
        build: makes the splits.
    """

    def require(entry: Entry) -> None:
        _splits(entry)  # labels of classes that there are, as many as images

    return _splits(stored(folder, name, [_FORMAT, key], lambda: _entry(build()), require=require))


def _entry(splits: ImageSplits) -> Entry:
    tensors = {
        f"{name}.{field}": tensor
        for name, split in splits.named().items()
        for field, tensor in (("images", split.images), ("labels", split.labels))
    }
    return Entry(tensors, {"classes": splits.classes, "notes": splits.notes})


def _splits(entry: Entry) -> ImageSplits:
    tensors, facts = entry
    splits = {
        name: ImageSplit(tensors[f"{name}.images"], tensors[f"{name}.labels"])
        for name in ("train", "test", "validation")
        if f"{name}.images" in tensors
    }
    return ImageSplits(
        train=splits["train"],
        test=splits["test"],
        validation=splits.get("validation"),
        classes=tuple(facts["classes"]),
        notes=tuple(facts["notes"]),
    )
