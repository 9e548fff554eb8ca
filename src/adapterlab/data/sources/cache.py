"""Keeps decoded splits on disk, so that a data set is decoded once."""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adapterlab.data.splits import ImageSplit, ImageSplits
from adapterlab.errors import DataError

_LOG = logging.getLogger(__name__)
_FORMAT = 1  # raise it whenever decoding changes, so that older entries are left alone


def fingerprint(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """What changes when a file does: its resolved path, size and time of change in ns."""
    return [
        (str(path.resolve()), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files
    ]


def cached(folder: Path, name: str, key: object, build: Callable[[], ImageSplits]) -> ImageSplits:
    """The splits stored under ``key``, or else those of ``build``, which are then stored.

    Entries are written atomically and carry checksums; one that cannot be read back is built
    again. Processes that want the same entry wait for the first one.

    Args:
        folder: the cache folder.
        name: begins the file name, for people who look into the folder.
        key: anything JSON can write, all that the result depends on.
        build: makes the splits.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, key]).encode()).hexdigest()[:16]
    path = folder / f"{name}-{digest}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if path.exists():
            try:
                return _read(path)
            except (SafetensorError, DataError, KeyError, ValueError, OSError) as error:
                _LOG.warning("cache file %s is damaged (%s); building it again", path, error)
        splits = build()
        _write(path, splits)
        return splits


def _write(path: Path, splits: ImageSplits) -> None:
    tensors = {
        f"{name}.{field}": tensor.contiguous()
        for name, split in splits.named().items()
        for field, tensor in (("images", split.images), ("labels", split.labels))
    }
    facts = {
        "classes": splits.classes,
        "notes": splits.notes,
        "checksums": {name: _checksum(tensor) for name, tensor in tensors.items()},
    }
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    save_file(tensors, unfinished, metadata={"splits": json.dumps(facts)})
    unfinished.replace(path)


def _read(path: Path) -> ImageSplits:
    with safe_open(path, framework="pt") as file:
        facts = json.loads((file.metadata() or {})["splits"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    for name, expected in facts["checksums"].items():
        if _checksum(tensors[name]) != expected:
            raise DataError(f"checksum of {name} differs")
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


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.numpy().data)
