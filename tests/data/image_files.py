"""Bytes of small image files."""

import struct
from io import BytesIO
from zlib import compress, crc32

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def idx_bytes(values: Pixels) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


def png(pixels: Pixels) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def deep_png(values: npt.NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits a colour, ``[H, W, 3]``, which Pillow reads and does not write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def photo(value: int, height: int = 4, width: int = 4) -> Pixels:
    """An RGB image of three different flat channels, told apart from others by ``value``."""
    return np.broadcast_to(
        np.array([value, value // 2, 255 - value], dtype=np.uint8), (height, width, 3)
    ).copy()
