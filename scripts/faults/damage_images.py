"""Small data sets of images in folders and in parquet, and what can be wrong in them."""

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from faults.damage import Damage

SIZES = {"train": 12, "val": 4, "test": 4}
CLASSES = ("cat", "dog")
_SIDE = 8


def image(label: int, rng: random.Random, mode: str = "RGB") -> Image.Image:
    """Noise that is brighter for the second class."""
    noise = np.random.default_rng(rng.randrange(2**32)).integers(0, 99, (_SIDE, _SIDE, 3))
    return Image.fromarray((noise + 120 * label).astype(np.uint8)).convert(mode)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image's file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def write_folders(folder: Path, rng: random.Random) -> None:
    """Write ``SPLIT/CLASS/N.png``."""
    for split, count in SIZES.items():
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                place = folder / split / name / f"{number}.png"
                place.write_bytes(encoded(image(label, rng)))


def write_parquet(folder: Path, rng: random.Random) -> None:
    """Write ``train.parquet``, ``validation.parquet``, ``test.parquet``."""
    folder.mkdir()
    for name, count in (("train", 24), ("validation", 8), ("test", 8)):
        save(folder / f"{name}.parquet", rows(count, rng))


def rows(count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Images and labels as data sets on the hub have them."""
    return [
        {"img": {"bytes": encoded(image(row % 2, rng)), "path": None}, "label": row % 2}
        for row in range(count)
    ]


def save(file: Path, made: list[dict[str, Any]]) -> None:
    """Write rows of images."""
    pq.write_table(pa.Table.from_pylist(made), file)


def _as(mode: str, kind: str = "PNG", suffix: str = ".png") -> Damage:
    """Write an image in another mode or format."""

    def done(file: Path, rng: random.Random) -> str:
        label = CLASSES.index(file.parent.name)
        file.unlink()
        file.with_suffix(suffix).write_bytes(encoded(image(label, rng, mode), kind))
        return f"{file.name} of mode {mode} as {kind}"

    return done


def _deep(file: Path, rng: random.Random) -> str:
    pixels = np.full((_SIDE, _SIDE), 40_000, dtype=np.uint16)
    file.write_bytes(encoded(Image.fromarray(pixels)))
    return f"{file.name} of 16 bits"


def _animated(kind: str, suffix: str) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        frames = [image(0, rng), image(1, rng)]
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        file.unlink()
        file.with_suffix(suffix).write_bytes(content)
        return f"{file.name} animated, as {kind}"

    return done


def _sized(width: int, height: int) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        file.write_bytes(encoded(image(0, rng).resize((width, height))))
        return f"{file.name} of {width}x{height}"

    return done


def _bomb(file: Path, rng: random.Random) -> str:
    """A header that promises 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    file.write_bytes(content)
    return f"{file.name} that says it is 60,000 x 60,000"


def _beside(name: str) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        (file.parent / name).write_bytes(b"\xd0\xcf\x11\xe0 no image")
        return f"{name} beside {file.name}"

    return done


def _split_called(name: str) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        (file.parents[2] / "val").rename(file.parents[2] / name)
        return f"val called {name}"

    return done


def _file_for_split(file: Path, rng: random.Random) -> str:
    folder = file.parents[2] / "val"
    folder.rename(folder.with_name(".val"))
    folder.write_text("see elsewhere")
    return "val a file"


def _class_away(split: str) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        gone = file.parents[2] / split / rng.choice(CLASSES)
        gone.rename(gone.with_name(f".{gone.name}"))
        return f"{split}/{gone.name} gone"

    return done


def _deeper(file: Path, rng: random.Random) -> str:
    folder = file.parent / "more"
    folder.mkdir()
    file.rename(folder / file.name)
    return f"{file.name} in a folder of its class"


def _same(file: Path, rng: random.Random) -> str:
    for other in file.parents[2].rglob("*.png"):
        other.write_bytes(file.read_bytes())
    return "all images the same"


def _column(name: str, values: Any) -> Damage:
    """Put other values into a column of a parquet file."""

    def done(file: Path, rng: random.Random) -> str:
        made = rows(24 if file.stem == "train" else 8, rng)
        save(file, [row | {name: values[i % len(values)]} for i, row in enumerate(made)])
        return f"{file.name} with {str(values)[:40]} as {name}"

    return done


def _broken_image(file: Path, rng: random.Random) -> str:
    made = rows(24 if file.stem == "train" else 8, rng)
    row = rng.randrange(len(made))
    content = made[row]["img"]["bytes"]
    keep = rng.randrange(len(content) - 12)
    made[row]["img"] = {"bytes": content[:keep], "path": None}
    save(file, made)
    return f"{file.name} with the image of row {row} cut to {keep} bytes"


def _files_elsewhere(file: Path, rng: random.Random) -> str:
    made = rows(24 if file.stem == "train" else 8, rng)
    save(file, [row | {"img": {"bytes": None, "path": "elsewhere/1.png"}} for row in made])
    return f"{file.name} with paths instead of images"


def _no_column(name: str) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        table = pq.read_table(file)
        pq.write_table(table.drop_columns([name]), file)
        return f"{file.name} without {name}"

    return done


FOLDERS: dict[str, Damage] = {
    "16 bits": _deep,
    "CMYK": _as("CMYK", "JPEG", ".jpg"),
    "alpha": _as("RGBA"),
    "a palette": _as("P"),
    "black and white": _as("1"),
    "a JPEG called PNG": _as("RGB", "JPEG"),
    "a GIF": _as("P", "GIF", ".gif"),
    "an animated WebP": _animated("WEBP", ".webp"),
    "an animated PNG": _animated("PNG", ".png"),
    "1x1": _sized(1, 1),
    "another size": _sized(_SIDE, _SIDE + 1),
    "a bomb": _bomb,
    "Thumbs.db": _beside("Thumbs.db"),
    "a list beside the images": _beside("labels.csv"),
    "val under another name": _split_called("valid"),
    "val in another case": _split_called("Val"),
    "val a file": _file_for_split,
    "a class that train lacks": _class_away("train"),
    "a class that test lacks": _class_away("test"),
    "a folder in a class": _deeper,
    "all images the same": _same,
}
"""Damages of folders of images; each is told the file of one image."""

PARQUET: dict[str, Damage] = {
    "a broken image": _broken_image,
    "paths instead of images": _files_elsewhere,
    "labels of floats": _column("label", (0.0, 1.0)),
    "labels of truth values": _column("label", (False, True)),
    "labels missing": _column("label", (0, None)),
    "one label": _column("label", (1,)),
    "negative labels": _column("label", (0, -1)),
    "a label for each row": _column("label", tuple(range(24))),
    "images of text": _column("img", ("cat.png",)),
    "images of nothing": _column("img", ({"bytes": b"", "path": None},)),
    "no column of images": _no_column("img"),
    "no column of labels": _no_column("label"),
}
"""Damages of parquet files of images."""
