import pytest
import torch

from adapterlab.base.errors import DataError
from adapterlab.data import hold_out, limited
from adapterlab.data.splits import TextSplit, TextSplits


def numbered(labels: list[int]) -> TextSplit:
    return TextSplit(tuple(f"text {i}" for i in range(len(labels))), torch.tensor(labels))


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (("a",), torch.zeros(1), "labels are torch.float32"),
        (("a",), torch.zeros(2).long(), "1 texts but 2 labels"),
        ((), torch.zeros(0).long(), "a split without texts; each split needs at least one"),
        (("a",), torch.tensor([-1]), "label -1 is negative"),
    ],
)
def test_a_split_that_is_none_is_refused(
    texts: tuple[str, ...], labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        TextSplit(texts, labels)


def test_select_takes_rows_in_the_order_given() -> None:
    chosen = numbered([5, 6, 7]).select(torch.tensor([2, 0]))
    assert chosen.texts == ("text 2", "text 0")
    assert chosen.labels.tolist() == [7, 5]


def test_a_label_must_name_a_class() -> None:
    with pytest.raises(DataError, match="test has label 2; allowed: 0 to 1"):
        TextSplits(numbered([0]), numbered([2]), ("a", "b"))


def test_the_validation_split_is_cut_by_class() -> None:
    splits = TextSplits(numbered([0] * 80 + [1] * 20), numbered([0, 1]), ("a", "b"))
    train, validation = hold_out(splits, 0.1, seed=3)
    assert validation.labels.bincount().tolist() == [8, 2]
    assert set(train.texts) | set(validation.texts) == set(splits.train.texts)
    assert len(limited(train, 7, seed=0)) == 7
    assert splits.with_notes("so").notes == ("so",)
