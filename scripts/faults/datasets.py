"""Damage a small data set of each format, and train on it: trained whole, or refused in one line.

In this process, on real files that the libraries of their formats wrote. What trained must have
every row that the damage left, counted here by other means than AdapterLab's readers; what was
refused must be one line that names a file or folder of the data set.
"""

import contextlib
import gzip
import io
import json
import random
import re
import shutil
import struct
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from faults import damage_images, damage_texts
from faults.damage import ANY_FILE, Damage
from faults.trying import Setting, Trial

COUNT = 180

_OPTIONS = (
    "epochs=1", "base=scratch", "adapter=full", "batch_size=64", "tracking=none", "hardware=cpu",
    "hardware.threads=1", "hardware.precision=32-true", "optimizer.lr=0.01",
)  # fmt: skip
_TEXTS = ("dataset=text_files", "model=bert_tiny", "model.hidden_size=32", "model.num_layers=1")

_OPTIONS_OF = {
    "csv": _TEXTS,
    "jsonl": _TEXTS,
    "parquet": _TEXTS,
    "images": ("dataset=image_folder",),
    "image parquet": ("dataset=image_parquet",),
    "idx": ("dataset=mnist",),
}

_DAMAGES: dict[str, dict[str, Damage]] = {
    "csv": damage_texts.DAMAGES[".csv"],
    "jsonl": damage_texts.DAMAGES[".jsonl"],
    "parquet": damage_texts.DAMAGES[".parquet"],
    "images": damage_images.FOLDERS,
    "image parquet": damage_images.PARQUET,
    "idx": {},
}

DAMAGES = {kind: ANY_FILE | own for kind, own in _DAMAGES.items()}
"""By format and name."""


@dataclass(frozen=True)
class Ended:
    """What came of a training: its exit code, what it printed, its rows by split, its traceback."""

    code: int
    err: str
    rows: Mapping[str, int]
    traceback: str = ""


def tries(setting: Setting) -> Iterator[Trial]:
    """Damage and train until there are enough trials: each damage of each format in turn."""
    queue: list[tuple[str, str]] = []
    for number in range(setting.count):
        if not queue:
            queue = [(kind, name) for kind, names in DAMAGES.items() for name in names]
            setting.rng.shuffle(queue)
        kind, name = queue.pop()
        yield tried(setting, number, kind, name)


def tried(setting: Setting, number: int, kind: str, name: str) -> Trial:
    """Write a data set, do one damage to one of its files, and train."""
    root, rng = setting.root(f"{number:03d}"), setting.rng
    data = root / "own"
    write(kind, data, rng)
    file = rng.choice(sorted(path for path in data.rglob("*") if path.is_file()))
    done = DAMAGES[kind][name](file, rng)
    ended = trained(root, kind, data)
    complaint = _complaint(ended, kind, data)
    shutil.rmtree(root, ignore_errors=True)
    if complaint:
        return Trial(name, False, f"{kind}: {done}: {complaint}")
    return Trial(name, True, "refused in one line" if ended.code else "trained whole")


def write(kind: str, folder: Path, rng: random.Random) -> None:
    """Write a whole data set of a format."""
    if kind == "images":
        damage_images.write_folders(folder, rng)
    elif kind == "image parquet":
        damage_images.write_parquet(folder, rng)
    elif kind == "idx":
        _write_idx(folder / "MNIST" / "raw", rng)
    else:
        damage_texts.write(folder, f".{kind}", rng)


def _write_idx(folder: Path, rng: random.Random) -> None:
    folder.mkdir(parents=True)
    for part, count in (("train", 200), ("t10k", 40)):
        labels = bytes(row % 10 for row in range(count))
        images = rng.randbytes(count * 28 * 28)
        for name, head, content in (
            ("images-idx3", struct.pack(">IIII", 0x803, count, 28, 28), images),
            ("labels-idx1", struct.pack(">II", 0x801, count), labels),
        ):
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + content))


def trained(root: Path, kind: str, data: Path) -> Ended:
    """Train on a folder in this process, and say mistakes as the command line does."""
    from adapterlab.app.mistakes import mistakes_in_one_line
    from adapterlab.runs.data import load_data
    from adapterlab.runs.single import run

    rows: dict[str, int] = {}
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            with mistakes_in_one_line(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                config = _composed(root, kind, data)
                read = load_data(config)
                rows |= {name: len(split) for name, split in read.target.named().items()}
                run(config, read)
        except SystemExit as stop:
            return Ended(int(stop.code or 0), err.getvalue(), rows)
        except Exception:
            return Ended(1, err.getvalue(), rows, traceback.format_exc())
    return Ended(0, err.getvalue(), rows)


def _composed(root: Path, kind: str, data: Path) -> Any:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from adapterlab.config import conf_folder
    from adapterlab.config.hydra_versions import composing
    from adapterlab.config.parsing import parse

    GlobalHydra.instance().clear()
    place = f"data_dir={data}" if kind == "idx" else f"dataset.loader.path={data}"
    options = [*_OPTIONS, *_OPTIONS_OF[kind], f"root={root}", place]
    with composing(conf_folder.CONF):
        return parse(hydra.compose("train", options))


def _complaint(ended: Ended, kind: str, data: Path) -> str | None:
    """Say what must not be about how a training ended."""
    if ended.traceback:
        return f"a traceback: {ended.traceback.strip().splitlines()[-1][:200]}"
    if not ended.code:
        left = rows_left(kind, data)
        return f"trained on {ended.rows} of {left}" if left and left != ended.rows else None
    lines = ended.err.strip().splitlines()
    if len(lines) != 1 or not lines[0].startswith("error: "):
        return f"{len(lines)} lines: {ended.err[:200]!r}"
    if str(data) not in lines[0]:
        return f"no file is named: {lines[0][:200]}"
    if len(lines[0]) > 1_000:
        return f"a line of {len(lines[0]):,} characters: {lines[0][:200]}"
    return None


def rows_left(kind: str, data: Path) -> dict[str, int] | None:
    """Count the rows of each split by other means; None where those do not read the files."""
    counted = {}
    for name in ("train", "validation", "test"):
        try:
            if kind == "images":
                places = [p for p in data.iterdir() if p.is_dir() and _says(name, p.name)]
                counted[name] = sum(1 for p in places for _ in p.glob("*/[!.T]*.*"))
            elif kind in ("parquet", "image parquet"):
                files = _files(data, name, kind, ".parquet")
                counted[name] = sum(pq.read_metadata(file).num_rows for file in files)
            elif kind == "jsonl":
                files = _files(data, name, kind, ".jsonl", ".json")
                lines = [line for file in files for line in _text(file).split("\n")]
                counted[name] = sum(1 for line in lines if line.strip())
            elif kind == "csv":
                files = _files(data, name, kind, ".csv", ".tsv")
                counted[name] = sum(
                    len(pd.read_csv(io.StringIO(_text(f)), dtype=str)) for f in files
                )
        except (ValueError, OSError, pa.ArrowException, json.JSONDecodeError):
            return None
    return {name: count for name, count in counted.items() if count}


def _says(split: str, name: str) -> bool:
    """Whether a file or folder says by its name that it is a split."""
    words = {
        "train": "train(ing)?",
        "test": "test(ing)?",
        "validation": "val(id(ation)?)?|dev|eval",
    }
    return re.fullmatch(rf"({words[split]})([-_]?(set|data|split))?", name.lower()) is not None


def _files(data: Path, split: str, kind: str, *suffixes: str) -> list[Path]:
    """The file of a split by its very name, or else by another; images have no other."""
    there = [file for file in data.iterdir() if file.is_file() and file.suffix in suffixes]
    exact = [file for file in there if file.stem == split]
    others = [file for file in there if _says(split, file.stem)]
    return exact[:1] or ([] if kind == "image parquet" else others[:1])


def _text(file: Path) -> str:
    """What is in a file of text, in whichever encoding a damage has left it."""
    content = file.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    if content[1:2] == b"\0":
        return content.decode("utf-16-le")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")
