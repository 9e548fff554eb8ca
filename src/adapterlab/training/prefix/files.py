"""Room for the features in the cache folder, of which the least used give way."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from adapterlab.base.cache import sweep_unfinished


def make_room(folder: Path, sizes: Mapping[Path, int], limit: int) -> int:
    """Delete the least recently used files until others fit.

    Args:
        folder: where all of them are.
        sizes: bytes of the files that are wanted; those that exist already stay.
        limit: bytes that all files together may take.

    Returns:
        Bytes that the disk lacks.
    """
    sweep_unfinished(folder, "prefix-*")
    needed = sum(size for path, size in sizes.items() if not path.exists())
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


def _stats(folder: Path, others_than: Collection[Path]) -> list[tuple[float, int, Path]]:
    """Time of last use and size of all files but some."""
    found = []
    # Older versions wrote .bin files without checksums, and .tmp files before they were whole.
    patterns = ("prefix-*.safetensors", "prefix-*.bin", "prefix-*.tmp")
    paths = {path for pattern in patterns for path in folder.glob(pattern)}
    for path in paths.difference(others_than):
        try:
            stat = path.stat()
        except FileNotFoundError:  # another process made room
            continue
        found.append((stat.st_mtime, stat.st_size, path))
    return found
