"""Memory-mapped files of features in the cache folder, of which the least used give way."""

import logging
import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

_LOG = logging.getLogger(__name__)


def is_whole(path: Path, size: int) -> bool:
    """Say whether a file is there, and of the size that it should have."""
    return path.exists() and path.stat().st_size == size


def kept(
    path: Path, shape: tuple[int, ...], dtype: torch.dtype, fill: Callable[[Tensor], None]
) -> Tensor:
    """The tensor kept in a file, or else what `fill` writes, which is then kept.

    Files appear whole or not at all; one of another size is made anew. Processes that want the
    same file wait for the first one. A file may be deleted while its tensor is in use.

    Args:
        path: a `.bin` file in a folder that exists.
        shape: of the tensor.
        dtype: likewise.
        fill: writes every element of a tensor.
    """
    size = math.prod(shape) * dtype.itemsize
    with FileLock(path.with_suffix(".lock")):
        if is_whole(path, size):
            path.touch()  # used last is what `make_room` deletes last
            return _mapped(path, shape, dtype)
        if path.exists():
            _LOG.warning("cache file %s is damaged; computing it again", path)
        unfinished = path.with_suffix(".tmp")
        unfinished.unlink(missing_ok=True)
        try:
            fill(_mapped(unfinished, shape, dtype, shared=True))
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())  # else a power cut could leave a whole file of zeros
            values = _mapped(unfinished, shape, dtype)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return values


def make_room(folder: Path, sizes: Mapping[Path, int], limit: int) -> int:
    """Delete the least recently used files until others fit.

    Args:
        folder: where all of them are.
        sizes: bytes of the files that are wanted; those that exist already stay.
        limit: bytes that all files together may take.

    Returns:
        Bytes that the disk lacks; a mapping that outgrows it would end the process.
    """
    _sweep(folder)
    needed = sum(size for path, size in sizes.items() if not is_whole(path, size))
    if not needed:
        return 0
    files = sorted(_stats(folder, sizes))
    total = sum(sizes.values()) + sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total -= size
    return max(0, needed - shutil.disk_usage(folder).free)


def _mapped(
    path: Path, shape: tuple[int, ...], dtype: torch.dtype, *, shared: bool = False
) -> Tensor:
    """A file as a tensor; `shared` creates the file, and writes what is written to the tensor."""
    flat = torch.from_file(str(path), shared=shared, size=math.prod(shape), dtype=dtype)
    return flat.view(shape)


def _stats(folder: Path, others_than: Collection[Path]) -> list[tuple[float, int, Path]]:
    """Time of last use and size of all files but some."""
    found = []
    for path in set(folder.glob("prefix-*.bin")).difference(others_than):
        try:
            stat = path.stat()
        except FileNotFoundError:  # another process made room
            continue
        found.append((stat.st_mtime, stat.st_size, path))
    return found


def _sweep(folder: Path) -> None:
    """Delete what processes left that were killed while computing."""
    for unfinished in folder.glob("prefix-*.tmp"):
        try:
            with FileLock(unfinished.with_suffix(".lock"), timeout=0):
                unfinished.unlink(missing_ok=True)
        except Timeout:  # it is being computed
            continue
