"""Bars of classes and sheets of pictures that a run had wrong."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from mistake_cases import read, texts
from PIL import Image

from adapterlab.data.splits import ImageSplit
from adapterlab.drawing.mistakes import contact_sheet, per_class_figure
from adapterlab.evidence.mistakes import (
    ClassMistakes,
    WrongAnswer,
    hardest_first,
    misclassification_shares,
)
from adapterlab.runs.results.mistakes import write_mistakes
from adapterlab.training.predictions import Predictions

# Bars


def ticks(figure: Figure) -> list[str]:
    return [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def test_bars_by_hand() -> None:
    classes = (ClassMistakes(2, 10, 5), ClassMistakes(0, 10, 0), ClassMistakes(1, 0, 0))
    figure = per_class_figure(classes, ("cat", "dog", "frog"), "lora, seed 0")
    (axes,) = figure.axes
    assert ticks(figure) == ["frog", "cat", "dog (no examples)"]
    assert axes.yaxis_inverted()
    assert [(bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in axes.patches] == [
        (0.5, pytest.approx(0)),
        (0.0, pytest.approx(1)),
    ]
    # Wilson, 95%: 5 of 10 and 0 of 10.
    (intervals,) = axes.collections
    lines = intervals.get_segments()
    assert lines[0] == pytest.approx(np.array([[0.236593, 0], [0.763407, 0]]), abs=1e-6)
    assert lines[1] == pytest.approx(np.array([[0, 1], [0.277533, 1]]), abs=1e-6)
    assert {text.get_position()[1]: text.get_text() for text in axes.texts} == {
        0: "5 of 10",
        1: "0 of 10",
    }
    assert axes.get_xlabel() == "share of the class's test examples that is misclassified"
    assert axes.xaxis.get_major_formatter()(0.25) == "25%"
    assert (axes.get_title(), figure.get_supxlabel()) == (
        "lora, seed 0",
        "lines: 95% Wilson intervals",
    )


def test_whole_intervals_fit_the_axis() -> None:
    for n, wrong in ((1, 1), (1000, 1000), (1000, 0)):
        (axes,) = per_class_figure([ClassMistakes(0, n, wrong)], ("a",), "").axes
        _, (high, _) = axes.collections[0].get_segments()[0]
        assert high <= axes.get_xlim()[1] <= 1.01
        assert axes.get_xlim()[0] == 0


def test_the_hardest_30_of_100_classes_are_drawn_legibly() -> None:
    counts = np.diag(np.full(100, 200)) + np.diag(np.arange(1, 100), k=-1)
    names = [f"a rather long name of the class {i} " * 3 for i in range(100)]
    figure = per_class_figure(hardest_first(misclassification_shares(counts)), names, "")
    assert [tick.split(" ... ")[0] for tick in ticks(figure)] == ["a rather long name of th"] * 30
    assert [tick.split()[-1] for tick in ticks(figure)] == [str(i) for i in range(99, 69, -1)]
    assert figure.get_supxlabel() == "the hardest 30 of 100 classes; lines: 95% Wilson intervals"
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in (*axes.get_yticklabels(), *axes.texts)]
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[i + 1 :])


def test_hundred_classes_are_written(tmp_path: Path) -> None:
    labels = np.arange(100)
    found = Predictions(np.roll(np.eye(100), 1, axis=1), labels, tuple(map(str, labels)))
    write_mistakes(tmp_path, found, texts(*map(str, labels), labels=labels), title="t")
    assert len(read(tmp_path / "per_class.csv")) == 101
    assert len(read(tmp_path / "confused_pairs.csv")) == 51
    with Image.open(tmp_path / "per_class.png") as image:
        assert 1000 < image.width < 1400
        assert 1000 < image.height < 2000


# Sheets


def sheet(images: np.ndarray, names: tuple[str, ...] = ("cat", "dog")) -> Figure:
    answers = [WrongAnswer(i, 0, 1, 0.974, 0.02) for i in range(len(images))]
    return contact_sheet(images, answers, names, "title")


@pytest.mark.parametrize("channels", [1, 3])
def test_sheet_shows_each_picture_as_it_is(channels: int) -> None:
    images = np.arange(7 * channels * 4 * 6, dtype=np.uint8).reshape(7, channels, 4, 6)
    (axes,) = sheet(images).axes
    for drawn, image in zip(axes.images, images, strict=True):
        expected = image[0] if channels == 1 else np.moveaxis(image, 0, 2)
        assert (np.asarray(drawn.get_array()) == expected).all()
        assert drawn.get_interpolation() == "nearest"
        # Not stretched to the darkest and lightest of each picture.
        assert drawn.get_clim() == (0, 255)
    assert [text.get_text() for text in axes.texts] == ["cat → dog, 97%"] * 7


def test_pictures_larger_than_their_cell_are_not_thinned_out() -> None:
    (axes,) = sheet(np.zeros((1, 1, 300, 300), dtype=np.uint8)).axes
    assert axes.images[0].get_interpolation() != "nearest"


@pytest.mark.parametrize("shape", [(8, 8), (10, 100), (100, 10)])
@pytest.mark.parametrize(
    "names", [("cat", "dog"), ("a long class name", "another"), ("W" * 90,) * 2]
)
def test_captions_and_pictures_do_not_overlap(
    shape: tuple[int, int], names: tuple[str, ...]
) -> None:
    figure = sheet(np.zeros((11, 1, *shape), dtype=np.uint8), names)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [image.get_window_extent() for image in axes.images]
    boxes += [text.get_window_extent() for text in (*axes.texts, *figure.texts)]
    assert len(boxes) == 11 + 11 + 1
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[i + 1 :])


@pytest.mark.parametrize(
    ("shape", "inches"), [((8, 8), 1.7), ((8, 16), 0.85), ((10, 100), 0.68), ((100, 10), 3.4)]
)
def test_rows_are_as_tall_as_their_pictures(shape: tuple[int, int], inches: float) -> None:
    one, two = (sheet(np.zeros((n, 1, *shape), dtype=np.uint8)) for n in (5, 6))
    caption = 0.45
    assert two.get_figheight() - one.get_figheight() == pytest.approx(inches + caption)


@pytest.mark.parametrize(("channels", "n", "shown"), [(1, 30, 20), (3, 30, 20), (1, 3, 3)])
def test_sheet_files(tmp_path: Path, channels: int, n: int, shown: int) -> None:
    labels = np.arange(n) % 2
    confidence = np.linspace(0.6, 0.9, n)
    logits = np.log(np.stack([confidence, 1 - confidence], axis=1))
    logits[labels == 0] = logits[labels == 0, ::-1]
    images = torch.zeros(n, channels, 28, 28, dtype=torch.uint8)
    images[-1] = 255
    split = ImageSplit(images, torch.from_numpy(labels))
    paths = write_mistakes(tmp_path, Predictions(logits, labels, ("a", "b")), split, title="t")
    assert tmp_path / "confidently_wrong.png" in paths
    assert len(read(tmp_path / "confidently_wrong.csv")[0]) == 5
    assert "(confidently_wrong.png)" in (tmp_path / "mistakes.md").read_text("utf-8")
    with Image.open(tmp_path / "confidently_wrong.png") as image:
        columns, rows = min(shown, 5), -(-shown // 5)
        assert image.width == pytest.approx(277 * columns, abs=40)
        assert image.height == pytest.approx(322 * rows + 60, abs=80)
        pixels = np.asarray(image.convert("L"), dtype=int)
    # The surest mistake, the last row, is the white one; the second picture is black.
    middle = 190
    assert pixels[middle, 140] == 255
    assert pixels[middle, 420] == 0


def test_sheet_without_pictures_says_so() -> None:
    figure = contact_sheet(np.zeros((0, 1, 8, 8), dtype=np.uint8), (), ("a",), "title")
    assert not figure.axes
    assert [text.get_text() for text in figure.texts] == [
        "title",
        "no test example is misclassified",
    ]


def test_dollar_signs_in_names_are_not_formulas() -> None:
    name = r"$\nosuchcommand$"
    per_class_figure([ClassMistakes(0, 2, 1)], (name,), name).draw_without_rendering()
    sheet(np.zeros((1, 1, 2, 2), dtype=np.uint8), (name, name)).draw_without_rendering()


def test_no_figure_touches_pyplot() -> None:
    per_class_figure([ClassMistakes(0, 2, 1)], ("a",), "")
    sheet(np.zeros((1, 1, 2, 2), dtype=np.uint8))
    assert plt.get_fignums() == []
