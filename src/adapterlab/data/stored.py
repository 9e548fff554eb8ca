"""Keeps tensors on disk under a key, so that what is slow to make is made once."""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adapterlab.errors import DataError

_LOG = logging.getLogger(__name__)


class Entry(NamedTuple):
    """What is kept: tensors by name, and facts about them that JSON can write."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def stored(folder: Path, name: str, key: object, build: Callable[[], Entry]) -> Entry:
    """The entry kept under ``key``, or else that of ``build``, which is then kept.

    Entries are written atomically and carry checksums; one that cannot be read back is built
    again. Processes that want the same entry wait for the first one.

    Args:
        folder: the cache folder; what is in it may be deleted at any time.
        name: begins the file name, for people who look into the folder.
        key: anything JSON can write, all that the result depends on.
        build: makes the entry.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    path = folder / f"{name}-{digest}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if path.exists():
            try:
                return _read(path)
            except (SafetensorError, DataError, KeyError, ValueError, OSError) as error:
                _LOG.warning("cache file %s is damaged (%s); building it again", path, error)
        entry = build()
        _write(path, entry)
        return entry


def _write(path: Path, entry: Entry) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in entry.tensors.items()}
    checksums = {name: _checksum(tensor) for name, tensor in tensors.items()}
    metadata = {"facts": json.dumps(entry.facts), "checksums": json.dumps(checksums)}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    save_file(tensors, unfinished, metadata=metadata)
    unfinished.replace(path)


def _read(path: Path) -> Entry:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    for name, expected in json.loads(metadata["checksums"]).items():
        if _checksum(tensors[name]) != expected:
            raise DataError(f"checksum of {name} differs")
    return Entry(tensors, json.loads(metadata["facts"]))


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.numpy().data)
