import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.data import ImageSplit, ImageSplits, hold_out, limited
from adapterlab.data.splits import stratified_cut


def numbered(labels: list[int]) -> ImageSplit:
    """Image i is one pixel of value i."""
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    return ImageSplit(images, torch.tensor(labels))


def pixels(split: ImageSplit) -> list[int]:
    return split.images.flatten().tolist()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 3, 3), torch.zeros(2).long(), "float32"),
        (torch.zeros(2, 3, 3, dtype=torch.uint8), torch.zeros(2).long(), r"\(2, 3, 3\)"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2), "labels are torch.float32"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(3).long(), "2 images but 3"),
        (torch.zeros(0, 1, 3, 3, dtype=torch.uint8), torch.zeros(0).long(), "without images"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, -1]), "-1 is negative"),
    ],
)
def test_a_split_that_is_none_is_refused(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ImageSplit(images, labels)


def test_select_takes_rows_in_the_order_given() -> None:
    chosen = numbered([5, 6, 7]).select(torch.tensor([2, 0]))
    assert pixels(chosen) == [2, 0]
    assert chosen.labels.tolist() == [7, 5]


def test_splits_must_agree_in_shape() -> None:
    other = ImageSplit(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), torch.tensor([0]))
    with pytest.raises(DataError, match=r"test images are \(3, 1, 1\) but train .* \(1, 1, 1\)"):
        ImageSplits(numbered([0]), other, ("a",))


def test_a_label_must_name_a_class() -> None:
    with pytest.raises(DataError, match="validation has label 2; allowed: 0 to 1"):
        ImageSplits(numbered([0]), numbered([1]), ("a", "b"), validation=numbered([2]))


def test_hold_out_keeps_the_share_of_each_class() -> None:
    splits = ImageSplits(numbered([0] * 80 + [1] * 20), numbered([0, 1]), ("a", "b"))
    train, validation = hold_out(splits, 0.1, seed=3)
    assert validation.labels.bincount().tolist() == [8, 2]
    assert train.labels.bincount().tolist() == [72, 18]
    assert sorted(pixels(train) + pixels(validation)) == list(range(100))


def test_hold_out_depends_on_its_seed_alone() -> None:
    splits = ImageSplits(numbered([0, 1] * 50), numbered([0, 1]), ("a", "b"))
    first, again, other = (pixels(hold_out(splits, 0.2, seed)[1]) for seed in (1, 1, 2))
    assert first == again != other


def test_an_official_validation_split_is_used_as_it_is() -> None:
    official = numbered([1])
    splits = ImageSplits(numbered([0, 1]), numbered([0]), ("a", "b"), validation=official)
    train, validation = hold_out(splits, 0.5, seed=0)
    assert train is splits.train
    assert validation is official


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2])
def test_hold_out_refuses_a_share_outside_of_0_and_1(fraction: float) -> None:
    splits = ImageSplits(numbered([0, 0]), numbered([0]), ("a",))
    with pytest.raises(ConfigError, match=f"is {fraction}; allowed: above 0"):
        hold_out(splits, fraction, seed=0)


def test_hold_out_names_a_class_with_one_example() -> None:
    splits = ImageSplits(numbered([0, 0, 0, 2]), numbered([0]), ("a", "b", "c"))
    with pytest.raises(DataError, match="class 2 has only 1 example"):
        hold_out(splits, 0.5, seed=0)


def test_hold_out_refuses_a_part_smaller_than_the_number_of_classes() -> None:
    splits = ImageSplits(numbered([0, 0, 1, 1, 2, 2]), numbered([0]), ("a", "b", "c"))
    with pytest.raises(DataError, match=r"6 rows of 3 classes cannot be cut at 0\.1"):
        hold_out(splits, 0.1, seed=0)


@given(
    counts=st.lists(st.integers(10, 40), min_size=1, max_size=5),
    fraction=st.floats(0.2, 0.8),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_cut_is_a_partition_with_every_class_on_both_sides(
    counts: list[int], fraction: float, seed: int
) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    first, second = stratified_cut(labels, fraction, seed)
    assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(len(labels)))
    assert (first.diff() > 0).all()
    assert (second.diff() > 0).all()
    for label, count in enumerate(counts):
        share = len(second) / len(labels)
        assert abs(int((labels[second] == label).sum()) - share * count) <= 1


def test_a_larger_limit_extends_a_smaller_one() -> None:
    split = numbered(list(range(50)))
    assert pixels(limited(split, 20, seed=1))[:5] == pixels(limited(split, 5, seed=1))
    assert pixels(limited(split, 5, seed=1)) != pixels(limited(split, 5, seed=2))
    assert len(set(pixels(limited(split, 49, seed=1)))) == 49


def test_a_limit_beyond_the_split_changes_nothing() -> None:
    split = numbered([0, 1])
    assert limited(split, 2, seed=0) is split
    with pytest.raises(ConfigError, match="limit is 0; allowed: at least 1"):
        limited(split, 0, seed=0)
