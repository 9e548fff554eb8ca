import csv
import re
import unicodedata
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from PIL import Image

from adapterlab.base.csv_cells import as_cell
from adapterlab.data.splits import ImageSplit, TextSplit
from adapterlab.drawing.mistakes import contact_sheet, per_class_figure
from adapterlab.evidence.mistakes import (
    ClassMistakes,
    WrongAnswer,
    hardest_first,
    misclassification_shares,
)
from adapterlab.runs.mistakes import write_mistakes
from adapterlab.training.predictions import Predictions

NAMES = ("Sci/Tech", "T-shirt/top", "página|`x`", "$5 *or* <b>")
LABELS = np.array([0, 0, 0, 1, 1, 3])
# Rows 1, 2, 4 and 5 are wrong; class 2 has no example.
PROBABILITIES = np.array(
    [
        [0.7, 0.1, 0.1, 0.1],
        [0.3, 0.6, 0.05, 0.05],
        [0.04, 0.9, 0.03, 0.03],
        [0.1, 0.8, 0.05, 0.05],
        [0.2, 0.3, 0.5, 0.0000001],
        [0.9997, 0.0001, 0.0001, 0.0001],
    ]
)
NASTY = (
    "",
    " spaces at both ends ",
    'a "quoted" word, and a comma; a\ttab',
    '"',
    '""',
    "line one\nline two\r\nline three\rline four\n\n",
    "\r",
    "| a | table | row |",
    "\\| \\\\| \\",
    "`code` ``more`` ```",
    "<b>bold</b> <!-- <script>alert(1)</script> &amp; &lt;",
    "*a* _b_ **c** ~~d~~ [link](http://example.org) ![i](j) $x$ # h",
    "> quote - item 1. item",
    "مرحبا بالعالم, שלום",
    "👩‍👩‍👧 surprise 😲 e\u0301",
    "zero\x00 byte, \x1b[31mred\x1b[0m, line\u2028separator, next\x85line",
    "=1+1",
)


def predictions(
    probabilities: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> Predictions:
    return Predictions(np.log(probabilities).astype(np.float64), labels.astype(np.int64), names)


def texts(*content: str, labels: np.ndarray = LABELS) -> TextSplit:
    return TextSplit(content, torch.from_numpy(labels))


def all_wrong(content: tuple[str, ...]) -> tuple[Predictions, TextSplit]:
    """Every text is of class 0 and taken for class 1, with the same confidence."""
    n = len(content)
    labels = np.zeros(n, dtype=np.int64)
    found = predictions(np.tile([0.25, 0.75], (n, 1)), labels, ("no", "yes"))
    return found, texts(*content, labels=labels)


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def tables(page: Path) -> list[list[list[str]]]:
    """Every table of a page as plain text, header first; markup in a cell is an error."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8")):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level == 4:
            assert {part.type for part in token.children} <= {"text"}
            found[-1][-1].append("".join(part.content for part in token.children))
    return found


def unquoted(cell: str) -> str:
    """A text as it was, without the quote that keeps a spreadsheet from running it."""
    return cell[1:] if re.match(r"'[=+@\t\r\n-]", cell) else cell


def on_one_line(text: str) -> str:
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) == "Cc" else c
        for c in " ".join(text.split())
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "new" / "mistakes"
    found = predictions(PROBABILITIES, LABELS, NAMES)
    paths = write_mistakes(folder, found, texts(*"abcdef"), title="lora *r8*, seed 0")
    assert sorted(paths) == sorted(folder.iterdir())
    return folder


# Tables


def test_classes_by_hand(written: Path) -> None:
    assert read(written / "per_class.csv") == [
        ["class", "examples", "wrong", "share_wrong"],
        ["$5 *or* <b>", "1", "1", "1.0"],
        ["Sci/Tech", "3", "2", str(2 / 3)],
        ["T-shirt/top", "2", "1", "0.5"],
        ["página|`x`", "0", "0", ""],
    ]


def test_pairs_by_hand(written: Path) -> None:
    assert read(written / "confused_pairs.csv") == [
        ["true", "predicted", "count", "share_of_true"],
        ["Sci/Tech", "T-shirt/top", "2", str(2 / 3)],
        ["T-shirt/top", "página|`x`", "1", "0.5"],
        ["$5 *or* <b>", "Sci/Tech", "1", "1.0"],
    ]


def test_examples_by_hand(written: Path) -> None:
    header, *rows = read(written / "confidently_wrong.csv")
    assert header == ["row", "true", "predicted", "confidence", "probability_of_true", "text"]
    assert [(row[:3], row[5]) for row in rows] == [
        (["5", "$5 *or* <b>", "Sci/Tech"], "f"),
        (["2", "Sci/Tech", "T-shirt/top"], "c"),
        (["1", "Sci/Tech", "T-shirt/top"], "b"),
        (["4", "T-shirt/top", "página|`x`"], "e"),
    ]
    assert [float(row[3]) for row in rows] == pytest.approx([0.9997, 0.9, 0.6, 0.5], rel=1e-6)
    assert [float(row[4]) for row in rows] == pytest.approx([0.0001, 0.04, 0.3, 0.3], rel=1e-6)


def test_top_limits_pairs_and_examples(tmp_path: Path) -> None:
    found = predictions(PROBABILITIES, LABELS, NAMES)
    write_mistakes(tmp_path, found, texts(*"abcdef"), title="", top=1)
    assert len(read(tmp_path / "per_class.csv")) == 1 + 4
    assert len(read(tmp_path / "confused_pairs.csv")) == 1 + 1
    assert len(read(tmp_path / "confidently_wrong.csv")) == 1 + 1


def test_texts_come_back_without_loss(tmp_path: Path) -> None:
    write_mistakes(tmp_path, *all_wrong((*NASTY, "long " * 9000)), title="")
    _, *rows = read(tmp_path / "confidently_wrong.csv")
    assert [unquoted(row[5]) for row in rows] == [*NASTY, "long " * 9000]


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.lists(st.text(max_size=150), min_size=1, max_size=10))
def test_any_text_comes_back_and_leaves_the_page_whole(
    content: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapterlab.drawing.pictures.save", lambda figure, path: None)
    write_mistakes(tmp_path, *all_wrong(tuple(content)), title="")
    _, *rows = read(tmp_path / "confidently_wrong.csv")
    assert [row[5] for row in rows] == [as_cell(text) for text in content]
    assert not [row[5] for row in rows if re.match(r"[=@\t\r\n]", row[5])]

    *_, (_, *rows) = tables(tmp_path / "mistakes.md")
    assert [len(row) for row in rows] == [6] * len(content)
    assert [row[5] for row in rows] == [on_one_line(text) for text in content]


# The page


def test_page_by_hand(written: Path) -> None:
    lines = (written / "mistakes.md").read_text("utf-8").splitlines()
    assert lines[0] == r"# lora \*r8\*, seed 0"
    assert lines[2] == (
        r"4 of 6 test examples (66.7%) are wrong; hardest class: \$5 \*or\* &lt;b&gt; "
        "(1 of 1 wrong, 100.0%). Classes without a test example: 1 of 4."
    )
    classes, pairs, answers = tables(written / "mistakes.md")
    assert classes == [
        ["class", "examples", "wrong", "share wrong", "95% interval"],
        ["$5 *or* <b>", "1", "1", "100.0%", "20.7% to 100.0%"],
        ["Sci/Tech", "3", "2", "66.7%", "20.8% to 93.9%"],
        ["T-shirt/top", "2", "1", "50.0%", "9.5% to 90.5%"],
        ["página|`x`", "0", "0", "no examples", ""],
    ]
    assert pairs[1] == ["Sci/Tech", "T-shirt/top", "2", "66.7%"]
    # Neither certain nor impossible, however it is rounded.
    assert answers[1] == ["5", "$5 *or* <b>", "Sci/Tech", ">99.9%", "<0.1%", "f"]
    assert answers[2] == ["2", "Sci/Tech", "T-shirt/top", "90.0%", "4.0%", "c"]


def test_nasty_texts_do_not_break_the_page(tmp_path: Path) -> None:
    for start in (0, 7):
        part = NASTY[start : start + 10]
        write_mistakes(tmp_path, *all_wrong(part), title="")
        *_, (_, *rows) = tables(tmp_path / "mistakes.md")
        assert [row[5] for row in rows] == [on_one_line(text) for text in part]


def test_the_page_shows_ten_of_each_and_says_where_the_others_are(tmp_path: Path) -> None:
    n = 13
    labels = np.arange(n)
    found = Predictions(np.roll(np.eye(n), 1, axis=1), labels, tuple(map(str, labels)))
    write_mistakes(tmp_path, found, texts(*map(str, labels), labels=labels), title="", top=12)
    assert [len(table) for table in tables(tmp_path / "mistakes.md")] == [11, 11, 11]
    page = (tmp_path / "mistakes.md").read_text("utf-8")
    assert "3 more in [per_class.csv](per_class.csv)." in page
    assert "2 more in [confused_pairs.csv](confused_pairs.csv)." in page
    assert "2 more in [confidently_wrong.csv](confidently_wrong.csv)." in page


def test_long_texts_are_cut_in_the_middle(tmp_path: Path) -> None:
    text = "start " + "word " * 2000 + "end"
    write_mistakes(tmp_path, *all_wrong((text, "x" * 200, "y" * 201)), title="")
    *_, (_, *rows) = tables(tmp_path / "mistakes.md")
    assert rows[0][5].startswith("start word")
    assert rows[0][5].endswith("word end")
    assert " ... " in rows[0][5]
    assert rows[1][5] == "x" * 200
    assert rows[2][5] == "y" * 130 + " ... " + "y" * 65


def test_nothing_wrong(tmp_path: Path) -> None:
    labels = np.arange(3)
    found = Predictions(np.eye(3), labels, ("a", "b", "c"))
    images = ImageSplit(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.from_numpy(labels))
    paths = write_mistakes(tmp_path, found, images, title="perfect")
    assert all(path.stat().st_size for path in paths)
    assert read(tmp_path / "confused_pairs.csv") == [
        ["true", "predicted", "count", "share_of_true"]
    ]
    assert len(read(tmp_path / "confidently_wrong.csv")) == 1
    page = (tmp_path / "mistakes.md").read_text("utf-8")
    assert "None of 3 test examples is wrong.\n" in page
    assert page.count("\nNone.\n") == 2
    assert len(tables(tmp_path / "mistakes.md")) == 1


def test_one_example(tmp_path: Path) -> None:
    write_mistakes(tmp_path, *all_wrong(("only",)), title="")
    page = (tmp_path / "mistakes.md").read_text("utf-8")
    assert (
        "1 of 1 test example (100.0%) is wrong; hardest class: no (1 of 1 wrong, 100.0%)." in page
    )


# What does not fit


def test_other_examples_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    found = predictions(PROBABILITIES, LABELS, NAMES)
    folder = tmp_path / "mistakes"
    with pytest.raises(ValueError, match="6 predictions for 5 examples"):
        write_mistakes(folder, found, texts(*"abcde", labels=LABELS[:5]), title="")
    with pytest.raises(ValueError, match="2 of 6 labels differ, the first in row 2"):
        write_mistakes(
            folder, found, texts(*"abcdef", labels=np.array([0, 0, 1, 0, 1, 3])), title=""
        )
    four = ImageSplit(torch.zeros(6, 4, 2, 2, dtype=torch.uint8), torch.from_numpy(LABELS))
    with pytest.raises(ValueError, match=r"4 channels; expected 1 \(grey\) or 3 \(RGB\)"):
        write_mistakes(folder, found, four, title="")
    with pytest.raises(ValueError, match="top is 0"):
        write_mistakes(folder, found, texts(*"abcdef"), title="", top=0)
    broken = Predictions(np.full((6, 4), np.nan), LABELS, NAMES)
    with pytest.raises(ValueError, match="6 of 6 examples have logits that are not finite"):
        write_mistakes(folder, broken, texts(*"abcdef"), title="")
    assert not folder.exists()


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


def test_texts_get_no_sheet(written: Path) -> None:
    assert not (written / "confidently_wrong.png").exists()


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
