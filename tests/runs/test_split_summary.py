"""What a plan says of the splits of a run's data, for each task."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from adapterlab.data.splits import TextSplit, TextSplits
from adapterlab.runs.data import RunData
from adapterlab.runs.split_summary import split_summary
from lab import tiny

SEVERAL = torch.tensor([[True, False], [True, True], [False, False]])

CASES: dict[str, tuple[Tensor, tuple[str, ...], str]] = {
    "classes": (torch.tensor([0, 2, 2]), ("a", "b, c", "d"), "3 rows, 'a' 1, 'b, c' 0, 'd' 2"),
    "more classes than are named": (
        torch.tensor([0, 0, 5]),
        tuple("abcdefghijkl"),
        "3 rows, 12 classes of 0 to 2, 10 of them without a row",
    ),
    "labels": (SEVERAL, ("x", "y"), "3 rows, 'x' 2, 'y' 1; 1 without a label"),
    "numbers": (
        torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64),
        ("stars",),
        "3 rows, 1 to 6, mean 3, standard deviation 2.16",
    ),
}


def read(labels: Tensor, classes: tuple[str, ...], rows: int = 1) -> RunData:
    texts = tuple(f"text {row}" for row in range(rows * len(labels)))
    split = TextSplit(texts, labels.repeat(rows, *[1] * (labels.ndim - 1)))
    return RunData(TextSplits(split, split, classes, validation=split))


@pytest.mark.parametrize("case", CASES)
def test_each_split_says_what_it_holds(case: str, tmp_path: Path) -> None:
    labels, classes, said = CASES[case]
    found = split_summary(tiny(tmp_path), read(labels, classes))
    assert found == [f"{name}: {said}" for name in ("train", "validation", "test")]


def test_splits_are_cut_and_limited_as_the_runs(tmp_path: Path) -> None:
    data = read(torch.tensor([0, 1]), ("a", "b"), rows=500)
    config = tiny(tmp_path, "limit={train:10,test:40}")
    found = [one.split(" rows")[0] for one in split_summary(config, data)]
    assert found == ["train: 10", "validation: 1,000", "test: 40"]
