"""Texts whose splits the files themselves say, and what then nothing is cut by."""

from pathlib import Path
from typing import Any

import pytest

from adapterlab.base.errors import ConfigError, DataError

TEXTS = [f"text {i}" for i in range(20)]
ROWS = [f"{text},{'ab'[i % 2]},{'train' if i < 16 else 'test'}" for i, text in enumerate(TEXTS)]


def write(file: Path, header: str, rows: list[str]) -> None:
    file.write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize(("name", "value"), [("folds", 5), ("test", 0.3), ("test_seed", 1)])
def test_a_split_that_is_there_is_cut_by_nothing(
    mail: Path, load: Any, name: str, value: float
) -> None:
    """All folds were the same runs, as arms of their own."""
    for split in ("train", "test"):
        write(mail / f"{split}.csv", "text,label,split", ROWS)
    with pytest.raises(ConfigError, match=rf"{name}={value} .* there is one: .*test.csv; leave it"):
        load(**{name: value})


def test_folds_pass_over_a_column_of_splits_and_say_so(mail: Path, load: Any) -> None:
    write(mail / "all.csv", "text,label,split", ROWS)
    folds = [load(folds=2, fold=fold) for fold in (0, 1)]
    assert sorted(folds[0].test.texts + folds[1].test.texts) == sorted(TEXTS)
    (note,) = folds[0].notes
    assert note.startswith("the test split of all.csv is 10 of its 20 rows, part 0 of 2 cut by")
    assert note.endswith("column 'split' is passed over, so that rows which that calls test are "
                         "trained on")  # fmt: skip
    with pytest.raises(ConfigError, match=r"folds=2 is .* all.csv names the split of each row"):
        load(folds=2, split_column="split")
    with pytest.raises(ConfigError, match=r"test_seed=1 is .* all.csv names the split of each row"):
        load(test_seed=1)


def test_groups_in_two_splits_are_said(mail: Path, load: Any) -> None:
    rows = [f"{row},p{i % 18}" for i, row in enumerate(ROWS)]
    write(mail / "all.csv", "text,label,split,person", rows)
    said = "2 groups of person in test are in train too: p0, p1"
    assert said in load(group_column="person").notes


def test_two_things_that_are_said_of_one_text(mail: Path, load: Any) -> None:
    """The last one counted."""
    for split in ("train", "test"):
        write(mail / f"{split}.csv", "id,text", ["r0,x", "r1,y"])
        of = ["r0,a,p1", "r1,b,p2", "r0,a,p3"]
        write(mail / f"{split}_labels.csv", "id,label,part", of)
    with pytest.raises(DataError, match=r"has 'r0' with the part 'p1' in line 2, and elsewhere w"):
        load(labels="*_labels.csv", group_column="part")


def test_a_column_that_the_first_row_lacks(mail: Path, load: Any) -> None:
    """The rows that it calls test were trained on."""
    lines = ['{"text": "a", "label": "x"}', '{"text": "b", "label": "y", "split": "test", "n": 1}']
    (mail / "all.jsonl").write_text("\n".join([*lines] * 5))
    with pytest.raises(DataError, match=r"all.jsonl has split in line 2, but not in its first row"):
        load()
    (mail / "all.jsonl").write_text("\n".join([*lines] * 5).replace("split", "more"))
    assert len(load().test) == 2
