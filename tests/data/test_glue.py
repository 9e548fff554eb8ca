"""GLUE: each task is read from files of the hub's columns, its labels by name and by number."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow.parquet as pq
import pytest

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.data.splits import TextSplits
from adapterlab.runs.data import load_splits
from glue_files import CLASSES, COLUMNS, examples, write_glue, write_table
from lab import compose

NAMES = [*COLUMNS, "mnli_mismatched"]
OF_CLASSES = [name for name in NAMES if name != "stsb"]
SIZES = {
    "mnli": (392_702, 9_815),
    "mnli_mismatched": (392_702, 9_832),
    "qqp": (363_846, 40_430),
    "qnli": (104_743, 5_463),
    "sst2": (67_349, 872),
    "mrpc": (3_668, 408),
    "cola": (8_551, 1_043),
    "rte": (2_490, 277),
    "wnli": (635, 71),
    "stsb": (5_749, 1_500),
}


def task_of(name: str) -> str:
    return name.removesuffix("_mismatched")


def load(root: Path, name: str, *overrides: str) -> TextSplits:
    config = compose(
        root, f"dataset={name}", "model=bert_tiny", "base=scratch", f"data_dir={root}", *overrides
    )
    splits = load_splits(config, config.dataset)
    assert isinstance(splits, TextSplits)
    return splits


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glue(tmp_path_factory.mktemp("glue"))


@pytest.mark.parametrize("name", OF_CLASSES)
def test_each_task_is_read_and_says_what_it_is_tested_on(name: str, glue: Path) -> None:
    splits, task = load(glue, name), task_of(name)
    assert (len(splits.train), len(splits.test), splits.validation) == (60, 24, None)
    assert splits.classes == CLASSES[task]
    split = {"mnli": "validation_matched", "mnli_mismatched": "validation_mismatched"}
    file = glue / task / f"{split.get(name, 'validation')}.parquet"
    table = pq.read_table(file)
    assert splits.test.labels.tolist() == table["label"].to_pylist()
    texts = [table[column].to_pylist() for column in COLUMNS[task]]
    if len(texts) == 1:
        assert splits.test.texts == tuple(texts[0])
        assert not splits.test.pairs
    else:
        assert splits.test.pairs == tuple(zip(*texts, strict=True))
    assert splits.called("test", [3]).columns()["id"] == ("3",)
    assert splits.notes[-1] == (
        f"{task}: the official {file.stem} split (24 rows) is the test split here, as is usual "
        "where test labels are not published, and validation is cut from train"
    )


@pytest.mark.parametrize("name", NAMES)
def test_sizes_and_metrics_are_stated(name: str) -> None:
    from adapterlab.config import conf_folder

    text = (conf_folder.CONF / "dataset" / f"{name}.yaml").read_text()
    said = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert " / ".join(f"{size:,}" for size in SIZES[name]) in said


def write_rows(path: Path, columns: dict[str, list[Any]]) -> None:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
        return
    with path.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(
            opened, list(columns), delimiter="," if path.suffix == ".csv" else "\t"
        )
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("name", ["mnli", "rte", "wnli", "mrpc"])
def test_numbers_and_names_are_the_same_labels_whatever_the_file(
    name: str, by_name: bool, suffix: str, tmp_path: Path
) -> None:
    """RTE counts entailment from 0 and WNLI from 1: numbers mean what the hub's mean."""
    (tmp_path / name).mkdir()
    test = "validation_matched" if name == "mnli" else "validation"
    for number, split in enumerate(("train", test)):
        columns = examples(name, 24, number)
        if by_name:
            columns["label"] = [CLASSES[name][label] for label in columns["label"]]
        write_rows(tmp_path / name / f"{split}{suffix}", columns)
    splits = load(tmp_path, name)
    assert splits.test.labels.tolist() == examples(name, 24, 1)["label"]
    assert splits.classes == CLASSES[name]


def test_a_file_whose_names_stand_in_another_order_is_refused(tmp_path: Path) -> None:
    write_glue(tmp_path, ["wnli"])
    for split in ("train", "validation"):
        path = tmp_path / "wnli" / f"{split}.parquet"
        write_table(path, examples("wnli", 24, 0), CLASSES["wnli"][::-1])
    with pytest.raises(ConfigError, match="is in another order than in the files of wnli"):
        load(tmp_path, "wnli")


def test_a_pair_may_lack_one_text_and_that_is_said(tmp_path: Path) -> None:
    write_glue(tmp_path, ["qqp"])
    columns = examples("qqp", 60, 0)
    columns["question2"][7] = columns["question1"][9] = ""
    write_table(tmp_path / "qqp" / "train.parquet", columns, CLASSES["qqp"])
    splits = load(tmp_path, "qqp")
    assert splits.train.pairs[7] == (columns["question1"][7], "")
    assert splits.notes[0] == (
        "train.parquet: 2 of 60 pairs have an empty text, question2 in row 7 (counted from 0) first"
    )
    with pytest.raises(DataError, match=r"empty question1 in row 9 .*empty_texts=true keeps"):
        load(tmp_path, "qqp", "dataset.loader.empty_texts=false")
    columns["question1"][7] = " "
    write_table(tmp_path / "qqp" / "train.parquet", columns, CLASSES["qqp"])
    with pytest.raises(DataError, match=r"empty question1 in row 7 \(counted from 0\); fill or re"):
        load(tmp_path, "qqp")


def test_both_data_sets_of_mnli_share_one_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetched(path: str, name: str, *, split: str, cache_dir: str) -> Any:
        assert (path, name) == ("nyu-mll/glue", "mnli")
        asked.append(split)
        file = write_glue(tmp_path / "hub", ["mnli"]) / "mnli" / f"{split}.parquet"
        return datasets.Dataset.from_parquet(str(file), cache_dir=cache_dir)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", fetched)
    root = tmp_path / "root"
    matched, mismatched = load(root, "mnli"), load(root, "mnli_mismatched")
    assert asked == ["train", "validation_matched", "validation_mismatched"]
    assert matched.train.pairs == mismatched.train.pairs
    assert matched.test.pairs != mismatched.test.pairs
    assert load(root, "mnli").classes == CLASSES["mnli"]
    assert len(asked) == 3


def test_both_splits_of_mnli_are_one_test(glue: Path) -> None:
    both = load(glue, "mnli", "dataset.loader.test_split=both")
    parts = [load(glue, name) for name in ("mnli", "mnli_mismatched")]
    assert both.test.pairs == parts[0].test.pairs + parts[1].test.pairs
    assert both.test.labels.tolist() == [
        label for part in parts for label in part.test.labels.tolist()
    ]
    assert both.validation is None
    assert both.train.pairs == parts[0].train.pairs
    called = both.called("test", [23, 24]).columns()
    assert (called["row"], called["id"]) == ((23, 0), ("23", "0"))
    assert [str(file).partition(" ")[0] for file in called["file"]] == [
        "mnli/validation_matched.parquet", "mnli/validation_mismatched.parquet"
    ]  # fmt: skip
    assert "validation_matched and validation_mismatched splits (48 rows) are" in both.notes[-1]


def test_how_alike_two_sentences_are_is_a_number(glue: Path) -> None:
    splits = load(glue, "stsb", "task=regression")
    table = pq.read_table(glue / "stsb" / "validation.parquet")
    assert splits.test.labels.tolist() == pytest.approx(table["label"].to_pylist())
    assert splits.test.pairs[5] == tuple(table[column][5].as_py() for column in COLUMNS["stsb"])
    with pytest.raises(DataError, match=r"float in column label; .*task=regression"):
        load(glue, "stsb")
