"""Predictions and mistakes name the rows of the user's own files, whatever a run was limited to."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from adapterlab.runs.data import load_data
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.single import run
from adapterlab.runs.state import finished_run
from lab import tiny
from reviews import SMALL, small, write_reviews

pytestmark = pytest.mark.usefixtures("no_pictures")


def tables(result: RunResult) -> tuple[dict[str, list[Any]], list[dict[str, str]]]:
    """Return the predictions by column, and the surest mistakes."""
    predictions = pq.read_table(result.folder / "predictions.parquet").to_pydict()
    with (result.folder / "mistakes" / "confidently_wrong.csv").open(newline="") as file:
        return predictions, list(csv.DictReader(file))


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def with_ids(path: Path, offset: int) -> Path:
    rows = lines_of(path)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text", "label"))
        for row, one in enumerate(rows):
            writer.writerow((f"r{offset + row}", one["text"], one["label"]))
    return path


def test_rows_and_ids_are_the_files_under_a_limit(tmp_path: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews")
    own = lines_of(with_ids(reviews / "test.csv", 100))
    result = run(small(tmp_path, reviews, "adapter=head", "limit=20"))
    predictions, wrong = tables(result)
    assert len(set(predictions["row"])) == 20
    names = {0: "bad", 1: "good"}
    for row, name, label in zip(
        predictions["row"], predictions["id"], predictions["label"], strict=True
    ):
        assert own[row] == {"id": name, "text": own[row]["text"], "label": names[label]}
    assert wrong
    for one in wrong:
        assert own[int(one["row"])] == {"id": one["id"], "text": one["text"], "label": one["true"]}
    page = (result.folder / "mistakes" / "mistakes.md").read_text()
    assert f"| {wrong[0]['row']} | {wrong[0]['id']} |" in page


def test_rows_of_a_cut_are_those_of_the_one_file(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "reviews") / "train.csv"
    own = lines_of(path)
    options = ("dataset=text_files", f"dataset.loader.path={path}", "base=scratch", "adapter=head")
    result = run(tiny(tmp_path, "limit={test: 10}", *SMALL, *options, "epochs=1"))
    predictions, wrong = tables(result)
    assert max(predictions["row"]) > 20
    for row, label in zip(predictions["row"], predictions["label"], strict=True):
        assert own[row]["label"] == result.classes[label]
    assert all(one["text"] == own[int(one["row"])]["text"] for one in wrong)
    assert any("train.csv has no test split: it is 20 of its 96 rows" in n for n in result.notes)
    assert result.name.startswith("reviews-train-")


def test_a_run_from_before_data_were_named_by_their_paths_is_found(tmp_path: Path) -> None:
    config = small(tmp_path, write_reviews(tmp_path / "reviews"), "adapter=head", "epochs=1")
    before = run(replace(config, dataset=replace(config.dataset, name="text_files")))
    assert before.name.startswith("text_files-")
    assert finished_run(replace(config, resume=True), load_data(config)) is not None
