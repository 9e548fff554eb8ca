"""Bytes of small image files."""

import struct
from io import BytesIO

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


def photo(value: int, height: int = 4, width: int = 4) -> Pixels:
    """An RGB image of three different flat channels, told apart from others by ``value``."""
    return np.broadcast_to(
        np.array([value, value // 2, 255 - value], dtype=np.uint8), (height, width, 3)
    ).copy()
