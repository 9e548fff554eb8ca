"""Mistakes of a run as tables and as a page."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mistake_cases import (
    LABELS,
    NAMES,
    NASTY,
    PROBABILITIES,
    all_wrong,
    on_one_line,
    predictions,
    read,
    tables,
    texts,
    unquoted,
)

from adapterlab.base.csv_cells import as_cell
from adapterlab.data.splits import ImageSplit
from adapterlab.evidence.mistakes import ClassMistakes
from adapterlab.runs.results.mistakes import _opening, write_mistakes
from adapterlab.training.predictions import Predictions


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
    monkeypatch.setattr("adapterlab.drawing.canvas.save", lambda figure, path: None)
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


def test_texts_get_no_sheet(written: Path) -> None:
    assert not (written / "confidently_wrong.png").exists()


def test_the_opening_names_no_class_the_hardest_that_is_one_of_several() -> None:
    classes = [ClassMistakes(label, 4, wrong) for label, wrong in ((1, 4), (2, 4), (0, 1))]
    assert _opening(classes, ["a", "b", "c"]).endswith(
        "hardest class: b (4 of 4 wrong, 100.0%), and 1 other of the same share."
    )
