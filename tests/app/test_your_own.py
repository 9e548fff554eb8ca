"""Every command of docs/your_own.md, on small files, as a reader would type them."""

import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapterlab.app import cli
from adapterlab.app.predict_command import predict
from lab import CHECKOUT, ONE_PROCESS, Outcome

pytestmark = pytest.mark.usefixtures("no_pictures")

PROGRAMS = {
    "src/train.py": cli.train,
    "src/evaluate.py": cli.evaluate,
    "scripts/report.py": cli.report,
    "scripts/export.py": cli.export,
    "scripts/predict.py": predict,
}

SMALL = {
    "model=minilm": ("model=bert_tiny", "model.hidden_size=32", "model.vocab_size=300"),
    "model=efficientnet_lite0": ("model=mlp", "base=scratch"),
    "model.image_size=64": ("model.widths=[16]",),
}
"""What stands for models that take minutes, or are not installed; all else is as written."""


def commands() -> list[str]:
    """The lines of the page that begin with ``python``, in its order."""
    text = (CHECKOUT / "docs" / "your_own.md").read_text()
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("python ")]


def write_texts(home: Path) -> None:
    words = {"positive": "sunny, and great fun", "negative": "grey rain\nfor two hours"}
    rows = [(f"{word} {i}", label) for i in range(30) for label, word in words.items()]
    with (home / "reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("review", "sentiment"), *rows])
    with (home / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "review"), *((i, row[0]) for i, row in enumerate(rows))])


def write_images(home: Path) -> None:
    draw = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        folder = home / "photos" / name
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = draw.integers(0, 120, (8 + i % 2, 8, 3)) + 100 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.jpg")


@pytest.mark.slow
def test_a_reader_gets_from_a_file_to_a_verdict_and_to_predictions(
    tmp_path: Path, run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_texts(home)
    write_images(home)
    monkeypatch.setenv("HOME", str(home))
    said: dict[str, str] = {}
    lines = commands()
    assert {line.split()[1] for line in lines} == set(PROGRAMS)
    for line in lines:
        _, program, *options = shlex.split(line)
        written = [part for option in options for part in SMALL.get(option, (option,))]
        if "dataset=image_folder" in options:
            written.append("dataset.shape=[3,8,8]")  # what the network's own size does there
        if "hydra/launcher=packed" in options:
            written += ONE_PROCESS["packed"]
        if "run=<run>" in options:
            runs = (tmp_path / "mlruns" / "runs" / "reviews").glob("*lora*")
            written[options.index("run=<run>")] = f"run={min(runs)}"
        if program != "scripts/report.py":
            written.append("hardware.threads=1")
        done = run_cli(*written, program=PROGRAMS[program], root=tmp_path)
        assert done.code == 0, (line, done)
        said[line] = done.out
    shown = "\n".join(said.values())
    assert "the text is in 'review' and the label is in 'sentiment'" in shown
    assert shown.count("(95% confidence)") >= 2
    with (home / "predicted.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert list(rows[0]) == ["id", "review", "prediction", "probability", "agreement"]
    with (home / "named.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 40
    assert (home / "reviews-model" / "model.safetensors").is_file()
    assert (tmp_path / "mlruns" / "reports" / "reviews" / "report.html").is_file()
