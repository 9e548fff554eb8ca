"""Several labels, and numbers, in the tables of people."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterlab.base.errors import DataError
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.text_files import text_files
from adapterlab.data.splits import TextSplits


def read(context: LoadContext, task: str, folder: Path, **options: Any) -> TextSplits:
    return text_files(replace(context, task=task), folder, **options)  # type: ignore[arg-type]


def written(folder: Path, name: str, train: str, test: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"train.{name}").write_text(train)
    (folder / f"test.{name}").write_text(test)
    return folder


EXPECTED = torch.tensor([[True, True], [False, True], [False, False]])

FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a JSON list": (
        "jsonl",
        '{"text": "x y", "label": ["a", "b"]}\n{"text": "z w", "label": ["b"]}\n'
        '{"text": "q", "label": []}',
        {},
    ),
    "a bar": ("csv", "text,label\nx y,a|b\nz w,b\nq,\n", {}),
    "a separator that is named": (
        "csv", 'text,label\nx y,a + b\nz w,b\nq,\n', {"label_separator": "+"}
    ),
    "a JSON list in a cell": ("csv", 'text,label\nx y,"[""a"", ""b""]"\nz w,"[""b""]"\nq,[]\n', {}),
    "a column for each": (
        "csv", "text,a,b\nx y,1,1\nz w,0,1\nq,0,0\n", {"label_column": ["a", "b"]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_several_labels_in_a_file(form: str, context: LoadContext, tmp_path: Path) -> None:
    suffix, content, options = FORMS[form]
    folder = written(tmp_path / "several", suffix, content, content)
    splits = read(context, "multi_label", folder, **options)
    assert splits.classes == ("a", "b")
    assert splits.task == "multi_label"
    assert splits.train.labels.tolist() == EXPECTED.tolist()
    assert any("between '|'" in note for note in splits.notes) == (form == "a bar")


def test_numbers_in_a_file(context: LoadContext, tmp_path: Path) -> None:
    content = "text,stars\nx y,4.5\nz w,-1\nq,3e2\n"
    splits = read(context, "regression", written(tmp_path / "numbers", "csv", content, content))
    assert splits.classes == ("stars",)
    assert splits.train.labels.dtype == torch.float64
    assert splits.train.labels.tolist() == [4.5, -1.0, 300.0]
    assert not any("decimal points" in note for note in splits.notes)
    content = "text,price\nx y,1.250\nz w,950\nq,12.000\n"
    splits = read(context, "regression", written(tmp_path / "dots", "csv", content, content))
    assert splits.train.labels.tolist() == [1.25, 950.0, 12.0]
    assert any(
        "points in 'price' are decimal points: 1.250 is 1.25, not 1250" in note
        for note in splits.notes
    )


@pytest.mark.parametrize(
    ("task", "label", "said"),
    [
        ("regression", '"4,5"', 'has "4,5" as label in line 2; task=regression learns numbers'),
        ("regression", '"1_000"', 'has "1_000" as label in line 2'),
        ("regression", "NaN", "has NaN as label in line 2"),
        ("regression", "true", "has true as label in line 2"),
        ("regression", "null", "has no label in line 2"),
        ("multi_label", "[1.5]", "has 1.5 among the labels in line 2"),
        ("multi_label", '["a", ""]', 'has "" among the labels in line 2'),
    ],
)
def test_a_row_that_means_nothing_is_named(
    task: str, label: str, said: str, context: LoadContext, tmp_path: Path
) -> None:
    first = json.dumps({"text": "x y", "label": ["a", "b"] if task == "multi_label" else 1})
    content = f'{first}\n{{"text": "z w", "label": {label}}}'
    folder = written(tmp_path / "bad", "jsonl", content, content)
    with pytest.raises(DataError) as error:
        read(context, task, folder)
    assert said in str(error.value)


def test_a_label_of_the_test_that_training_does_not_know(
    context: LoadContext, tmp_path: Path
) -> None:
    train, test = "text,label\nx y,a|b\nz w,b\n", "text,label\nx y,a|C\n"
    folder = written(tmp_path / "odd", "csv", train, test)
    with pytest.raises(DataError, match="has label 'C' in line 2; allowed: a, b"):
        read(context, "multi_label", folder)


def test_columns_of_labels_say_yes_or_no(context: LoadContext, tmp_path: Path) -> None:
    content = "text,a,b\nx y,1,2\n"
    folder = written(tmp_path / "odd", "csv", content, content)
    with pytest.raises(DataError, match=r'has "2" as b in line 2; .* each says 1 or 0'):
        read(context, "multi_label", folder, label_column=["a", "b"])
    with pytest.raises(DataError, match=r"no column label; .*label_column=\[a,b\]$"):
        read(context, "multi_label", folder)


def test_one_file_is_cut_at_random(context: LoadContext, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("text,score\n" + "".join(f"text {i},{i}\n" for i in range(20)))
    splits = read(context, "regression", file)
    assert (len(splits.train), len(splits.test)) == (16, 4)
    assert any("cut by chance" in note for note in splits.notes)
    both = {*splits.train.labels.tolist(), *splits.test.labels.tolist()}
    assert both == set(map(float, range(20)))
