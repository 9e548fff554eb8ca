from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.text import Text
from PIL import Image

from adapterlab.drawing.canvas import Texts, save
from adapterlab.drawing.figures import (
    confusion_matrix_figure,
    learning_curves_figure,
)
from adapterlab.drawing.lettering import _installed, _letters

COUNTS = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])
ANIMALS = ("cat", "dog", "frog")

HISTORY = {
    "train/loss": [(0, 2.0), (1, 1.0), (2, 0.5)],
    "val/loss": [(0, 2.1), (1, 1.2), (2, 1.3)],
    "train/accuracy": [(0, 0.4), (1, 0.6), (2, 0.9)],
    "val/accuracy": [(0, 0.3), (1, 0.5), (2, 0.45)],
    "val/macro_f1": [(0, 0.1), (1, 0.2), (2, 0.3)],
}


def labels(ticks: list[Text]) -> list[str]:
    return [tick.get_text() for tick in ticks]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def written_in(axes: Axes) -> list[tuple[float, float, str, str]]:
    return [text for artist in axes.artists if isinstance(artist, Texts) for text in artist.texts]


def visible_ticks(axes: Axes) -> list[float]:
    low, high = axes.get_xlim()
    return [tick for tick in axes.get_xticks() if low <= tick <= high]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2, from 1 to 21."""

    def luminance(colour: str) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


# Confusion matrix


def test_confusion_matrix_writes_each_count_in_its_cell_with_true_classes_on_rows() -> None:
    axes, _ = confusion_matrix_figure(COUNTS, ANIMALS, "lora, test split").axes

    cells = {(x, y): text for x, y, text, _ in written_in(axes)}
    assert cells == {(c, r): str(COUNTS[r, c]) for r in range(3) for c in range(3)}
    assert axes.yaxis_inverted()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert axes.get_title() == "lora, test split"


def test_confusion_matrix_colours_shares_of_the_true_class() -> None:
    axes, bar = confusion_matrix_figure(COUNTS, ANIMALS, "").axes
    (image,) = axes.images
    assert image.get_array()[:2].tolist() == [[0.8, 0.2, 0.0], [0.25, 0.75, 0.0]]
    assert image.get_clim() == (0, 1)
    assert bar.get_ylabel() == "share of the true class"


def test_confusion_matrix_says_which_class_has_no_examples() -> None:
    axes, _ = confusion_matrix_figure(COUNTS, ANIMALS, "").axes
    assert labels(axes.get_xticklabels()) == ["cat", "dog", "frog"]
    assert labels(axes.get_yticklabels()) == ["cat", "dog", "frog (no examples)"]
    assert axes.images[0].get_array().mask[2].all()


def test_counts_are_legible_on_every_shade() -> None:
    shades = np.array([[99 - k, k + 1] for k in range(0, 100, 5)])
    counts = np.pad(shades, ((0, 0), (0, 18)))
    axes, _ = confusion_matrix_figure(counts, [str(i) for i in range(20)], "").axes
    image = axes.images[0]
    for column, row, _, colour in written_in(axes):
        shade = image.to_rgba(image.get_array())[int(row), int(column)]
        assert contrast(colour, shade) >= 4.5


@pytest.mark.parametrize(("n", "written", "named"), [(20, 400, 20), (21, 0, 21), (250, 0, 84)])
def test_confusion_matrix_of_many_classes(n: int, written: int, named: int) -> None:
    axes, _ = confusion_matrix_figure(np.eye(n, dtype=int), [f"c{i}" for i in range(n)], "").axes
    assert len(written_in(axes)) == written
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == named
    assert labels(axes.get_yticklabels())[1] == f"c{axes.get_yticks()[1]}"


def test_class_names_do_not_overlap() -> None:
    names = [f"a long class name {i}" for i in range(12)]
    figure = confusion_matrix_figure(np.eye(12, dtype=int), names, "")
    figure.draw_without_rendering()
    for ticks in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        boxes = [tick.get_window_extent() for tick in ticks]
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_confusion_matrix_that_does_not_fit_its_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 3\) for 2 classes"):
        confusion_matrix_figure(COUNTS, ("cat", "dog"), "")


# Learning curves


def test_learning_curves_draw_each_metric_in_its_panel() -> None:
    figure = learning_curves_figure(HISTORY, "dora, seed 0")
    for axes, metric in zip(figure.axes, ("loss", "accuracy"), strict=True):
        drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
        assert drawn == {
            "training": [list(point) for point in HISTORY[f"train/{metric}"]],
            "validation": [list(point) for point in HISTORY[f"val/{metric}"]],
        }
        assert axes.get_title(loc="left") == metric
        assert axes.get_xlabel() == "epoch"
        assert labels(axes.get_legend().get_texts()) == ["training", "validation"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["cross-entropy (nats)", "accuracy"]
    assert figure.get_suptitle() == "dora, seed 0"


def test_training_and_validation_differ_in_colour_and_in_line_style() -> None:
    for axes in learning_curves_figure(HISTORY, "").axes:
        train, val = axes.lines
        assert train.get_color() != val.get_color()
        assert train.get_linestyle() != val.get_linestyle()


def test_accuracy_is_in_percent_and_stays_below_100() -> None:
    _, axes = learning_curves_figure({"val/accuracy": [(0, 1.0), (1, 1.0)]}, "").axes
    assert axes.yaxis.get_major_formatter()(0.975) == "97.5%"
    assert axes.get_ylim()[1] < 1.01


@pytest.mark.parametrize("epochs", [1, 2, 3, 12, 200])
def test_epochs_are_whole_numbers(epochs: int) -> None:
    points = [(epoch, 1.0 / (epoch + 1)) for epoch in range(epochs)]
    axes, _ = learning_curves_figure({"train/loss": points}, "").axes
    ticks = visible_ticks(axes)
    assert len(ticks) >= min(epochs, 3)
    assert all(tick == round(tick) for tick in ticks)


def test_a_single_epoch_is_visible() -> None:
    axes, _ = learning_curves_figure({"val/loss": [(0, 1.5)]}, "").axes
    (line,) = axes.lines
    assert line.get_marker() not in ("", "None", None)
    assert axes.get_xlim() == (-0.5, 0.5)


def test_best_epoch_is_marked_in_both_panels() -> None:
    for axes in learning_curves_figure(HISTORY, "", best_epoch=1).axes:
        mark = axes.lines[-1]
        assert (mark.get_label(), list(mark.get_xdata())) == ("best epoch: 1", [1, 1])
        assert labels(axes.get_legend().get_texts())[-1] == "best epoch: 1"


def test_a_metric_without_a_curve_is_said_to_be_missing() -> None:
    loss, accuracy = learning_curves_figure({"train/loss": [(0, 1.0)]}, "", best_epoch=0).axes
    assert texts(accuracy) == ["not measured"]
    assert not accuracy.lines
    assert texts(loss) == []


def test_dollar_signs_in_names_are_not_formulas() -> None:
    name = r"$\nosuchcommand$"
    for figure in (
        confusion_matrix_figure(np.eye(1, dtype=int), [name], name),
        learning_curves_figure(HISTORY, name),
    ):
        figure.draw_without_rendering()


def test_letters_that_the_usual_font_lacks_come_from_another_or_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    usual = _letters(findfont(FontProperties()))
    other = min(set().union(*map(_letters, _installed())) - usual)  # matplotlib brings some
    nowhere = "\U0010fffd"
    save(confusion_matrix_figure(np.eye(1, dtype=int), [other], "t"), tmp_path / "other.png")
    assert caplog.messages == []
    for name in ("one.png", "two.png"):
        figure = confusion_matrix_figure(np.eye(1, dtype=int), [f"a{nowhere}"], "t")
        save(figure, tmp_path / name)
    said = [f"no font here has the letters {nowhere}: boxes stand for them in pictures"]
    assert caplog.messages == said
    assert not recwarn.list


# Files


@pytest.mark.parametrize(
    "draw",
    [
        lambda: confusion_matrix_figure(COUNTS, ANIMALS, "t"),
        lambda: learning_curves_figure(HISTORY, "t", best_epoch=1),
    ],
    ids=["confusion_matrix", "learning_curves"],
)
def test_save_writes_the_same_png_at_150_dpi_every_time(draw, tmp_path: Path) -> None:
    save(draw(), tmp_path / "one.png")
    save(draw(), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert "Software" not in image.info


def test_save_cuts_empty_margins(tmp_path: Path) -> None:
    figure = Figure(figsize=(10, 10))
    figure.text(0.5, 0.5, "small")
    save(figure, tmp_path / "small.png")
    with Image.open(tmp_path / "small.png") as image:
        assert max(image.size) < 300


def test_no_figure_touches_pyplot() -> None:
    confusion_matrix_figure(COUNTS, ANIMALS, "")
    learning_curves_figure(HISTORY, "")
    assert plt.get_fignums() == []
