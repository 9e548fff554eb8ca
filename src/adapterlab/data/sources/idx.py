"""The idx format of MNIST and its relatives, read whole or not at all.

Format: http://yann.lecun.com/exdb/mnist/. Two zero bytes, the type (8: unsigned byte), the number
of dimensions, then each dimension as a big-endian 32-bit integer, then the values.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adapterlab.base.errors import DataError
from adapterlab.data.splits import ImageSplit

_UNSIGNED_BYTE = 8


def find_idx(folder: Path, name: str) -> Path | None:
    """The file ``name`` in ``folder``, unpacked or else as ``name.gz``; None where neither is."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def read_idx(path: Path, ndim: int) -> Tensor:
    """Read an idx file of unsigned bytes with ``ndim`` dimensions; ``.gz`` is unpacked in memory.

    Returns:
        uint8 of the shape that the header states.

    Raises:
        DataError: unreadable, not such a file, or of another size than its header says.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; replace the file") from error
    start = 4 + 4 * ndim
    if len(content) < start or content[:4] != bytes((0, 0, _UNSIGNED_BYTE, ndim)):
        raise DataError(
            f"{path} is no idx file of bytes in {ndim} dimensions: it starts with "
            f"{content[:4].hex() or 'nothing'}, not 000008{ndim:02x}; replace the file"
        )
    shape = struct.unpack(f">{ndim}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        state = "truncated" if len(content) < expected else "too long"
        raise DataError(
            f"{path} is {state}: its header {shape} asks for {expected:,} bytes, "
            f"it has {len(content):,}; replace the file"
        )
    values = np.frombuffer(content, dtype=np.uint8, offset=start)
    return torch.from_numpy(values.reshape(shape).copy())


def read_idx_split(images_path: Path, labels_path: Path, classes: int) -> ImageSplit:
    """Read grayscale images with their labels.

    Returns:
        Images ``[N, 1, H, W]`` and labels in [0, ``classes``).

    Raises:
        DataError: a damaged file, counts that differ, or a label out of range; names the file.
    """
    images = read_idx(images_path, ndim=3)
    labels = read_idx(labels_path, ndim=1).long()
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images):,} images but {labels_path} has {len(labels):,} "
            "labels; replace the pair"
        )
    if not images.numel():
        raise DataError(f"{images_path} has no images; replace the file")
    wrong = (labels >= classes).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{labels_path} has label {int(labels[row])} in row {row}; "
            f"allowed: 0 to {classes - 1}; replace the file"
        )
    return ImageSplit(images[:, None], labels)
