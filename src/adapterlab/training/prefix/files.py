"""Features in the cache folder: found or made, with room for them; the least used give way."""

import math
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from adapterlab.base.cache import filled, sweep_unfinished
from adapterlab.base.errors import DataError
from adapterlab.base.full_disk import FullDiskError
from adapterlab.data.batches import SplitName
from adapterlab.training.few_texts import difference, tolerance
from adapterlab.training.prefix.trial import OffError

GIB = 2**30

Shapes = Mapping[SplitName, tuple[int, ...]]
"""Of the features of each split that has some."""

Some = Callable[[], tuple[Tensor, Tensor]]
"""Computes some features of a split: their places, int64 ``[M]``, and the features there."""

_MIXED = 0.1
"""How far features may be apart that were not computed in full precision; see `_require_same`."""


@dataclass(frozen=True)
class Kept:
    """What is in the cache folder now.

    Attributes:
        values: the features of each split.
        found: whether all of them were there.
    """

    values: Mapping[SplitName, Tensor]
    found: bool


def bytes_within(shapes: Shapes, dtype: torch.dtype, max_gib: float) -> int:
    """Return how many bytes features take together.

    Raises:
        OffError: that is more than is allowed.
    """
    total = sum(_sizes(shapes, dtype).values())
    if total > max_gib * GIB:
        raise OffError(f"would take {total / GIB:.3g} GiB, hardware.prefix_gib allows {max_gib:g}")
    return total


def keep(
    cache: Path,
    keys: Mapping[SplitName, str],
    shapes: Shapes,
    dtype: torch.dtype,
    fills: Mapping[SplitName, Callable[[Tensor], None]],
    some: Mapping[SplitName, Some],
    max_gib: float,
    *,
    exact: bool,
) -> Kept:
    """Find the features of all splits in the cache folder, or compute them into it.

    Args:
        cache: the folder; the least recently used features in it give way.
        keys: all that the features of a split depend on.
        shapes: of the features.
        dtype: of the features.
        fills: writes those of a split.
        some: computes some of a split's anew, which features of others are compared with.
        max_gib: what all features in the folder may take together.
        exact: whether they are computed in full precision, on a CPU.

    Raises:
        OffError: there is no room for them.
    """
    paths = {name: cache / f"prefix-{key}.safetensors" for name, key in keys.items()}
    cache.mkdir(parents=True, exist_ok=True)
    sizes = _sizes(shapes, dtype)
    lacking = make_room(cache, {paths[n]: sizes[n] for n in paths}, int(max_gib * GIB))
    if lacking:
        raise OffError(f"{cache} has {lacking / GIB:.3g} GiB too little free space")
    values, all_found = {}, True
    for name, path in paths.items():
        try:
            require = partial(_require_same, some=some[name], exact=exact)
            values[name], found = filled(path, shapes[name], dtype, fills[name], require=require)
        except FullDiskError as error:
            raise OffError(str(error)) from None
        all_found = all_found and found
    return Kept(values, all_found)


def _require_same(values: Tensor, some: Some, *, exact: bool) -> None:
    """Refuse features of others that are farther from those computed here than rounding allows.

    Args:
        values: of others.
        some: computes some of them.
        exact: whether they are computed in full precision, on a CPU; others round at every step.

    Raises:
        DataError: they are.
    """
    places, own = some()
    apart = difference([own], [values[places]])
    if not apart <= (tolerance(own) if exact else _MIXED):  # which broken numbers are not either
        raise DataError(f"some of these features are others here, by {apart:.0e}")


def _sizes(shapes: Shapes, dtype: torch.dtype) -> dict[SplitName, int]:
    return {name: math.prod(shape) * dtype.itemsize for name, shape in shapes.items()}


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
