"""Files that a later process reads: written whole or not at all, and known by their checksums.

Whatever is written is written beside its place, flushed to the disk and renamed, so that a process
that is killed, a disk that is full or a power cut leaves the file that was there before.
"""

import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from adapterlab.base.full_disk import said_where_full

NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What the system says where a folder may only be read."""

PART = ".part"
"""Ends the names of files that are being written."""

_LENGTH, _METADATA = 8, "__metadata__"
"""Of a safetensors file: bytes that say how long its header is, the lowest first; a name in it."""

_OF_PROCESS = f"{int.from_bytes(os.urandom(4)):010}"
"""Drawn by each: containers that share a disk count their processes from 1."""

_PART_NAME = re.compile(rf".+\.\d+{re.escape(PART)}")


def own_number() -> str:
    """Return digits for this process that no other has, of those that write to the same disk."""
    return f"{os.getpid()}{_OF_PROCESS}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file at; it takes the place of `path` in the end.

    Where the block raises, what it wrote is deleted and the file that was there stays.

    Raises:
        FullDiskError: there is no room.
    """
    part = path.with_name(f"{path.name}.{own_number()}{PART}")
    with said_where_full(path):
        try:
            yield part
            flush_one(part)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write to, which takes the place of `path` in the end; see `replacing`."""
    with replacing(path) as part, part.open("wb") as file:
        yield file


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; see `replacing`."""
    with writing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, its line ends as they are, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, values: Any, **options: Any) -> None:
    """Write values as JSON that people can read, whole or not at all.

    Args:
        path: of the file.
        values: what `json` can write.
        **options: of `json.dumps`.
    """
    write_text(path, json.dumps(values, indent=2, **options) + "\n")


def write_torch(path: Path, values: Any, *then: Path) -> None:
    """Write values with `torch.save`, whole or not at all.

    Args:
        path: of the file.
        values: what torch saves.
        *then: files that the same is written to afterwards, in their order.
    """
    import torch  # which the command line does without for long

    buffer = io.BytesIO()  # torch's own writer does not say why it could not write
    torch.save(values, buffer)
    for each in (path, *then):
        with writing(each) as file:
            file.write(buffer.getbuffer())


def write_tensors(
    path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, contiguous and on the CPU, with metadata as safetensors, whole or not at all.

    The file is the same, byte for byte, for equal tensors and metadata. The library orders tensors
    by type and name, and metadata by a hash that is drawn anew for every file.

    Raises:
        ValueError: tensors share memory, or metadata are no strings.
        FullDiskError: there is no room.
    """
    from safetensors.torch import save_file

    with replacing(path) as part:
        save_file(dict(tensors), part, None if metadata is None else dict(metadata))
        if metadata is not None:
            _order_metadata(part)


def sweep(folder: Path) -> None:
    """Delete what processes left that were killed while writing; nobody may be writing there."""
    for part in folder.rglob(f"*{PART}"):
        if _PART_NAME.fullmatch(part.name):
            part.unlink(missing_ok=True)


def flush(folder: Path) -> None:
    """Flush all files in a folder, which is about to be renamed to its place."""
    for path in folder.rglob("*"):
        if path.is_file():
            flush_one(path)


def sha256(path: Path) -> str:
    """Return the digest of a file's content, in hex digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hash(path: Path) -> str | None:
    """Return the digest of a file's content, None if it is not there; see `sha256`.

    A file is hashed once, as long as it is not changed: a model's folder may hold gigabytes, and
    all runs of a study ask for their base's.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():
        return None
    stat = path.stat()
    return _kept_hash(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(maxsize=4096)
def _kept_hash(path: Path, inode: int, size: int, modified: int, changed: int) -> str:
    return sha256(path)


def _order_metadata(path: Path) -> None:
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(length))
        header[_METADATA] = dict(sorted(header[_METADATA].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) <= length:  # in another order it is as long, unless it is escaped otherwise
            file.seek(_LENGTH)
            file.write(ordered.ljust(length))


def flush_one(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
