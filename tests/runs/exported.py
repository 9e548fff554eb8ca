"""Runs that tests export, and how."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from adapterlab.config.schema import Config
from adapterlab.runs.export.merged import Export, Request, export_saved
from adapterlab.runs.folders.folder import RunResult
from lab import ONE_THREAD, TINY, compose

NAMES = ("fröhlich 😀", "sad|bad", "غاضب")
WORDS = (
    ("sunny", "😀", "wonderful café", "शुभ"),
    ("rain 😢", "gloomy", "naïve, don't", "雨"),
    ("שלום עולם", "مرحبا بالعالم", "angry!!", "👩‍👩‍👧"),
)
LONGEST = 16
TEXTS = (
    *(option for option in TINY if not option.startswith(("base.", "epochs="))),
    "dataset=text_files",
    f"dataset.max_length={LONGEST}",
    "dataset.validation=0.3",
    "epochs=6",
    "batch_size=8",
)
BERT = ("model=bert_tiny", "model.hidden_size=32", "model.vocab_size=300")


def write_texts(folder: Path, rows: int) -> None:
    """Write texts of 1 to 12 words, a few of them too long for the model, and their classes."""
    folder.mkdir()
    for name, count in (("train", rows), ("test", 24)):
        lines = []
        for i in range(count):
            label = i % 3
            words = [WORDS[label][(i + j) % 4] for j in range(1 + i % 12)]
            lines.append(json.dumps({"text": " ".join(words), "label": NAMES[label]}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))


def source(folder: Path) -> str:
    """Return the data set that a base is trained on, as the command line takes it."""
    return (
        "base.dataset={kind: text, name: words, source: null, source_epochs: 1, classes: null, "
        f"max_length: {LONGEST}, length_bucketing: true, pad_to_max: false, validation: 0.2, "
        "validation_seed: 0, loader: {_target_: adapterlab.data.sources.text_files.text_files, "
        f"path: {folder}}}}}"
    )


def text_run(root: Path, *overrides: str, model: tuple[str, ...] = BERT) -> Config:
    texts = root / "texts"
    if not texts.is_dir():
        write_texts(texts, 90)
    return compose(root, *TEXTS, f"dataset.loader.path={texts}", *model, *overrides)


def asked(result: RunResult, to: Path, **changes: Any) -> Request:
    hardware = ONE_THREAD
    values = {
        "run": str(result.folder),
        "to": str(to),
        "overwrite": False,
        "examples": 256,
        "tolerance": 1e-4,
        "tracking_uri": None,
        "root": str(result.folder.parents[3]),
        "data_dir": None,
        "hardware": hardware,
    }
    return Request(**(values | changes))


def export(result: RunResult, to: Path, **changes: Any) -> Export:
    return export_saved(asked(result, to, **changes))


def logged(result: RunResult) -> np.ndarray[Any, Any]:
    """Return the test logits that the run wrote when it had been trained."""
    table = pq.read_table(result.folder / "predictions.parquet").to_pydict()
    return np.array(table["logits"])


def unseen(root: Path) -> list[str]:
    lines = (root / "texts" / "test.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def pasted(export: Export) -> dict[str, Any]:
    """Run the line of Python that loads the model."""
    names: dict[str, Any] = {}
    exec(export.usage, names)
    return names
