from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import complaint
from adapterlab.data.labels import require_learnable
from adapterlab.data.origin import Origin
from adapterlab.data.splits import TextSplit, TextSplits


def splits(train: str, classes: str = "a|b|3", validation: str | None = None) -> TextSplits:
    """Rows of a file, from line 2 on, with these labels; each label one of the classes."""
    names = classes.split("|")

    def split(labels: str) -> TextSplit:
        rows = labels.split("|")
        texts = tuple(f"text {row}" for row in range(len(rows)))
        return TextSplit(texts, torch.tensor([names.index(label) for label in rows]))

    places = [f"line {row + 2}" for row in range(len(train.split("|")))]
    return TextSplits(
        train=split(train),
        test=split(names[0]),
        classes=tuple(names),
        validation=None if validation is None else split(validation),
        origins={"train": Origin(Path("mail/train.csv"), places)},
    )


def refused(data: TextSplits, message: str, share: float = 0.3) -> None:
    with pytest.raises(DataError) as caught:
        require_learnable(data, share)
    assert str(caught.value) == message


def test_one_label_teaches_nothing() -> None:
    refused(
        splits("a|a|a"),
        "mail/train.csv has the label 'a' in all of its 3 rows: nothing can be learnt; "
        "allowed: two labels or more",
    )


def test_a_label_of_one_row_is_named_as_the_user_wrote_it() -> None:
    refused(
        splits("a|b|a|b|3"),
        "mail/train.csv line 6 is the only training row with the label '3'; a class that is cut "
        "into training and validation needs two rows: add some, mend the label, or give a "
        "validation split",
    )
    require_learnable(splits("a|b|a|b|3", validation="a"), 0.3)


def test_many_labels_of_one_row_are_counted() -> None:
    names = "|".join(f"id{i}" for i in range(30))
    with pytest.raises(DataError, match=r"line 2 is .* 'id0', as have 29 more of 30 labels; a cl"):
        require_learnable(splits(names, names), 0.3)


@pytest.mark.parametrize(
    ("rows", "share", "way"),
    [(6, 0.1, "set dataset.validation=0.34"), (4, 0.3, "set dataset.validation=0.5")],
)
def test_a_share_that_has_no_room_for_all_classes(rows: int, share: float, way: str) -> None:
    labels = "|".join(("a", "b")[row % 2] for row in range(rows))
    if rows == 4:
        share = 0.2
    with pytest.raises(DataError, match=f"{rows} rows of 2 classes, of which .* {way}"):
        require_learnable(splits(labels), share)
    require_learnable(splits(labels), float(way.rpartition("=")[2]))


def test_labels_that_differ_by_white_space() -> None:
    data = splits("a|b|b|a|a |b", "a|b|a ")
    refused(
        data,
        "mail/train.csv: the labels 'a' (2 rows) and 'a ' (1 row) differ by white space only; "
        "see mail/train.csv line 6; write them alike",
    )


def test_a_label_of_two_lines() -> None:
    """Files of predictions have the name of a class in each line."""
    data = replace(splits("a|b|a|b", "a|b"), classes=("x", "y\nz"))
    refused(data, r"mail/train.csv: the label 'y\nz' has a line break; write it in one line")
    assert complaint(["x", "y\rz"]) == r"'y\rz' has a line break"


def test_names_that_are_there_twice() -> None:
    data = replace(splits("a|b|a|b", "a|b"), classes=("x", "x"))
    refused(
        data,
        "mail/train.csv has class names that cannot be told apart: 'x' is there 2 times",
    )
