"""Tensors kept on disk under a key, so that what is slow to make is made once.

There is one format and one way of checking for all that is kept: decoded images, tokens, cuts,
features of frozen layers. A file carries its key and a checksum of each tensor, which are compared
whenever it is found: one that was cut short, changed, overwritten or put in the place of another is
made again. Files appear whole or not at all; what is in the folder may be deleted at any time.

What takes long to make is shared with machines that do not have this disk, where there is a way to
them (`others`). A file of theirs is looked at more closely: it may be sound, and not what it says.
"""

import hashlib
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adapterlab.base.errors import DataError, first_line
from adapterlab.base.files import NOT_WRITABLE, PART, replacing, write_tensors
from adapterlab.base.locks import acquire
from adapterlab.base.shared_cache import others_there

_LOG = logging.getLogger(__name__)

_VALUES = "values"
_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_ALIGNED = 64  # bytes: a mapped tensor begins where any processor can load it


class Entry(NamedTuple):
    """What is kept: tensors by name, and facts about them that JSON can write."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def stored(
    folder: Path,
    name: str,
    key: object,
    build: Callable[[], Entry],
    *,
    require: Callable[[Entry], None] | None = None,
) -> Entry:
    """The entry kept under ``key``, or else that of ``build``, which is then kept.

    Processes that want the same entry wait for the first one. Where nothing can be written, as in
    somebody else's root, what is not there is built, and kept by nobody.

    Args:
        folder: the cache folder.
        name: begins the file name, for people who look into the folder.
        key: anything JSON can write, all that the result depends on.
        build: makes the entry.
        require: refuses, by any exception, an entry of others that is not what `build` makes, as
            far as can be told in little time; without it nothing is shared.

    Raises:
        FullDiskError: there is no room for it.
    """
    path, digest = _place(folder, name, key)
    with _held(path) as held:
        if not held:
            return _found(path, digest) or build()
        entry = _found(path, digest) or _brought(path, digest, require)
        if entry is not None:
            return entry
        entry = build()
        tensors = {name: tensor.contiguous() for name, tensor in entry.tensors.items()}
        checksums = {name: _checksum(tensor) for name, tensor in tensors.items()}
        write_tensors(path, tensors, _metadata(digest, entry.facts, checksums))
    _give(path, require)
    return entry


def found(folder: Path, name: str, key: object) -> Entry | None:
    """The entry kept under ``key``; None if there is none, or it is damaged."""
    return _found(*_place(folder, name, key))


def _place(folder: Path, name: str, key: object) -> tuple[Path, str]:
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return folder / f"{name}-{digest}.safetensors", digest


def filled(
    path: Path,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    fill: Callable[[Tensor], None],
    *,
    require: Callable[[Tensor], None] | None = None,
) -> tuple[Tensor, bool]:
    """The tensor kept in a file, mapped into memory, or else what `fill` writes into the file.

    Processes that want the same file wait for the first one. The file may be deleted while its
    tensor is in use, and is not changed by what is written to that.

    Args:
        path: a `.safetensors` file whose name says all that the result depends on.
        shape: of the tensor.
        dtype: of the tensor: a floating-point type.
        fill: writes every element of a tensor.
        require: refuses a tensor of others, of this shape and type, see `stored`.

    Returns:
        The tensor, and whether it was found.

    Raises:
        FullDiskError: there is no room for it.
    """

    def required(entry: Entry) -> None:
        values = entry.tensors[_VALUES]
        if (values.shape, values.dtype) != (shape, dtype):
            raise DataError(f"it is {values.dtype} {tuple(values.shape)}")
        assert require is not None
        require(values)

    with _held(path) as held:
        if not held:
            if (entry := _found(path, path.stem)) is not None:
                return entry.tensors[_VALUES], True
            fill(values := torch.empty(shape, dtype=dtype))
            return values, False
        entry = _found(path, path.stem) or _brought(path, path.stem, require and required)
        if entry is not None:
            with suppress(FileNotFoundError):  # another process has just made room
                os.utime(path)  # used last is what gives way last
            return entry.tensors[_VALUES], True
        with replacing(path) as part:
            _fill(part, path.stem, shape, dtype, fill)
            values = _read(part)[0].tensors[_VALUES]  # in its place others may delete it at once
    _give(path, require)
    return values, False


def spread(count: int, most: int) -> Tensor:
    """Return up to so many of a number of rows, evenly: where what others have made is looked at.

    Returns:
        int64 ``[M]``, ascending.
    """
    rows = torch.linspace(0, count - 1, min(most, count), dtype=torch.float64)
    return rows.round().long()


def sweep_unfinished(folder: Path, pattern: str) -> None:
    """Delete what processes left that were killed while they made entries of a name's pattern."""
    for part in folder.glob(f"{pattern}.*{PART}"):
        entry = part.with_name(part.name.removesuffix(PART)).with_suffix("")
        try:
            with FileLock(entry.with_suffix(".lock"), timeout=0):
                part.unlink(missing_ok=True)
        except Timeout:  # it is being made
            continue


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold an entry's file; without holding it where nobody can write: whether it is held."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        acquire(lock, path.name)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        yield False
        return
    try:
        for part in path.parent.glob(f"{path.name}.*{PART}"):  # of a process that was killed
            part.unlink(missing_ok=True)
        yield True
    finally:
        lock.release()


def _found(path: Path, key: str) -> Entry | None:
    """Return the entry in a file, None where there is none or its file is damaged."""
    if not path.exists():
        return None
    try:
        entry, metadata = _read(path)
        _check(metadata, key, entry)
    except (SafetensorError, DataError, KeyError, ValueError, TypeError, OSError) as error:
        _LOG.warning("cache file %s is damaged (%s); making it again", path, error)
        return None
    return entry


def _brought(path: Path, key: str, require: Callable[[Entry], None] | None) -> Entry | None:
    """Return an entry that others have made, None where they have none or nobody is asked."""
    others = others_there()
    if others is None or require is None:
        return None

    def sound(found: Path) -> None:
        try:
            entry, metadata = _read(found)
            _check(metadata, key, entry)
            require(entry)
        except Exception as error:  # whatever is in it
            raise DataError(first_line(error)) from None

    return _found(path, key) if others.bring(path, sound) else None


def _give(path: Path, require: Callable[[Any], None] | None) -> None:
    """Let others have what was made here, if that is shared."""
    others = others_there()
    if others is not None and require is not None:
        others.give(path)


def _read(path: Path) -> tuple[Entry, dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Entry(tensors, json.loads(metadata["facts"])), metadata


def _check(metadata: dict[str, str], key: str, entry: Entry) -> None:
    if metadata["key"] != key:
        raise DataError("it is another entry's")
    expected = json.loads(metadata["checksums"])
    if expected.keys() != entry.tensors.keys():
        raise DataError("it has other tensors")
    for name, tensor in entry.tensors.items():
        if _checksum(tensor) != expected[name]:
            raise DataError(f"checksum of {name} differs")


def _fill(
    part: Path,
    key: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    fill: Callable[[Tensor], None],
) -> None:
    """Write a file in the format of safetensors whose one tensor is filled in place."""
    size = math.prod(shape) * dtype.itemsize
    own = {"dtype": _DTYPES[dtype], "shape": list(shape), "data_offsets": [0, size]}

    def header(checksum: str) -> bytes:
        metadata = _metadata(key, {}, {_VALUES: checksum})
        text = json.dumps({"__metadata__": metadata, _VALUES: own}).encode()
        text += b" " * (-(len(text) + 8) % _ALIGNED)
        return len(text).to_bytes(8, "little") + text

    blank = header("0" * 8)
    with part.open("wb") as file:
        file.write(blank)
        file.flush()
        file.truncate(len(blank) + size)
        if hasattr(os, "posix_fallocate"):  # else a full disk ends a process that fills a mapping
            os.posix_fallocate(file.fileno(), 0, len(blank) + size)
    checksum = _checksum(torch.empty(0))
    if size:
        mapped = np.memmap(part, np.uint8, "r+", offset=len(blank), shape=(size,))
        values = torch.from_numpy(mapped).view(dtype).view(shape)
        fill(values)
        mapped.flush()
        checksum = _checksum(values)
    with part.open("rb+") as written:
        written.write(header(checksum))


def _metadata(key: str, facts: dict[str, Any], checksums: dict[str, str]) -> dict[str, str]:
    return {"key": key, "facts": json.dumps(facts), "checksums": json.dumps(checksums)}


def _checksum(tensor: Tensor) -> str:
    """Return eight hex digits for a tensor's bytes."""
    return f"{zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data):08x}"
