"""Writing tensors to a file whose bytes depend on nothing but what is in it."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

_LENGTH = 8
"""Bytes that say how long a file's header is, the lowest first."""

_METADATA = "__metadata__"


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, byte for byte the same for equal tensors and metadata.

    The library orders tensors by type and name, and metadata by a hash that is drawn anew for
    every file.

    Args:
        tensors: by name, contiguous and on the CPU.
        path: the file; replaced if it is there.
        metadata: by name.
    """
    save_file(dict(tensors), path, dict(metadata))
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(length))
        header[_METADATA] = dict(sorted(header[_METADATA].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) <= length:  # in another order it is as long, unless it is escaped otherwise
            file.seek(_LENGTH)
            file.write(ordered.ljust(length))
