"""What stands on the pictures of a run: nothing is cut off, nothing is written over another."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from PIL import Image

from adapterlab.drawing.canvas import save
from adapterlab.drawing.figures import (
    confusion_matrix_figure,
    learning_curves_figure,
)
from adapterlab.drawing.lettering import Renderer
from adapterlab.drawing.mistakes import contact_sheet, per_class_figure
from adapterlab.evidence.mistakes import WrongAnswer, hardest_first, misclassification_shares

SHORT = tuple(f"c{i}" for i in range(30))
LONG = tuple(f"a rather long name of a class, number {i}" for i in range(30))
WIDE = tuple(f"{'W' * 50}{i}" for i in range(30))
TITLE = "a run of many options: " * 5


class Recorder(Renderer):
    """Measures as `save` does, and keeps each text that is drawn, with the pixels it takes."""

    def __init__(self, figure: Figure) -> None:
        super().__init__(*figure.bbox.size, figure.dpi)
        self.texts: list[tuple[str, Bbox]] = []

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, **_: Any
    ) -> None:
        width, height, descent = self.get_text_width_height_descent(s, prop, False)
        below = self.height - y
        assert angle in (0, 90)
        if angle:
            self.texts.append((s, Bbox.from_bounds(x - height + descent, below, height, width)))
        else:
            self.texts.append((s, Bbox.from_bounds(x, below - descent, width, height)))


def written(figure: Figure) -> list[tuple[str, Bbox]]:
    recorder = Recorder(figure)
    figure.canvas.get_renderer = lambda: recorder
    figure.draw(recorder)
    return recorder.texts


def confusion_matrix(names: Sequence[str]) -> Figure:
    counts = np.diag(np.full(len(names), 900)) + 7
    return confusion_matrix_figure(counts, names, TITLE)


def per_class(names: Sequence[str]) -> Figure:
    counts = np.diag(np.arange(len(names)) * 40) + 7
    counts[0] = 0
    return per_class_figure(hardest_first(misclassification_shares(counts)), names, TITLE)


def sheet(names: Sequence[str]) -> Figure:
    answers = [WrongAnswer(i, i % 2, 1 - i % 2, 0.974, 0.02) for i in range(7)]
    return contact_sheet(np.zeros((7, 1, 28, 28), dtype=np.uint8), answers, names, TITLE)


@pytest.mark.parametrize("names", [SHORT, LONG, WIDE], ids=["short", "long", "wide"])
@pytest.mark.parametrize("n", [2, 6, 10, 30])
@pytest.mark.parametrize("draw", [confusion_matrix, per_class, sheet])
def test_texts_are_whole_and_apart(
    draw: Callable[[Sequence[str]], Figure], n: int, names: tuple[str, ...]
) -> None:
    figure = draw(names[:n])
    assert_whole_and_apart(figure)


@pytest.mark.parametrize("epochs", [1, 2, 30, 200])
@pytest.mark.parametrize("scale", [1, 1e-9, 1e6, 1e30])
def test_texts_of_curves_are_whole_and_apart(scale: float, epochs: int) -> None:
    loss = [(epoch, scale * (1 + 1 / (1 + epoch))) for epoch in range(epochs)]
    accuracy = [(epoch, 0.912345 - 1e-4 / (1 + epoch)) for epoch in range(epochs)]
    history = {"train/loss": loss, "val/accuracy": accuracy}
    assert_whole_and_apart(learning_curves_figure(history, TITLE, best_epoch=0))


def assert_whole_and_apart(figure: Figure) -> None:
    texts = written(figure)
    width, height = figure.bbox.size
    for text, box in texts:
        assert 0 <= box.x0 < box.x1 <= width, text
        assert 0 <= box.y0 < box.y1 <= height, text
    for (one, of_one), (other, of_other) in combinations(texts, 2):
        assert not of_one.overlaps(of_other), (one, other)


def test_each_name_and_each_value_is_written() -> None:
    texts = [text for text, _ in written(confusion_matrix(SHORT[:3]))]
    assert [texts.count(name) for name in SHORT[:3]] == [2, 2, 2]
    assert (texts.count("907"), texts.count("7")) == (3, 6)
    assert {"0%", "100%", "share of the true class", "true class", "predicted class"} <= {*texts}

    texts = [text for text, _ in written(per_class(SHORT[:3]))]
    assert {"c0 (no examples)", "c1", "c2", "14 of 61", "14 of 101", "0%", "20%"} <= {*texts}

    curves = learning_curves_figure({"train/loss": [(0, 1.0), (1, 2.0)]}, "", best_epoch=1)
    texts = [text for text, _ in written(curves)]
    assert {"0", "1", "1.0", "2.0", "epoch", "cross-entropy (nats)", "best epoch: 1"} <= {*texts}


def test_numbers_of_an_axis_are_written_out() -> None:
    curves = {"train/loss": [(100_000, 1.00001), (100_001, 1.00002)]}
    texts = {text for text, _ in written(learning_curves_figure(curves, ""))}
    assert {"100000", "100001", "1.000010", "1.000020"} <= texts


def test_files_hold_what_was_drawn(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1))
    patch = {"transform": figure.transFigure, "linewidth": 0}
    figure.add_artist(Rectangle((0.25, 0.5), 0.5, 0.25, facecolor="#D55E00", **patch))
    figure.add_artist(Rectangle((0.25, 0.25), 0.25, 0.25, facecolor="#0072B2", **patch))
    save(figure, tmp_path / "two.png")
    with Image.open(tmp_path / "two.png") as image:
        pixels = np.asarray(image)
    page = np.full((15 + 75 + 15, 15 + 150 + 15, 3), 255)
    page[15:52, 15:165] = (0xD5, 0x5E, 0x00)
    page[53:90, 15:90] = (0x00, 0x72, 0xB2)
    # The row between the two depends on where 37.5 pixels end.
    assert pixels.shape == page.shape
    assert (np.delete(pixels, 52, axis=0) == np.delete(page, 52, axis=0)).all()


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", ["$5 to $10", "日本", "مرحبا", "e\u0301 \x00", " ", ""])
def test_any_name_can_be_written(name: str, tmp_path: Path) -> None:
    for draw in (confusion_matrix, per_class, sheet):
        save(draw((name, "b")), tmp_path / "any.png")
    save(confusion_matrix(("", "b")), tmp_path / "none.png")
    save(confusion_matrix((name, "b")), tmp_path / "one.png")
    same = (tmp_path / "none.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    assert same == (not name.strip())
