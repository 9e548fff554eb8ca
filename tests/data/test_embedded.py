import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits

from adapterlab.base.cache import Entry
from adapterlab.base.errors import ConfigError
from adapterlab.data.sources import LoadContext, embedded
from adapterlab.data.sources.embedded import digits


def test_all_digits_are_there_and_scaled_to_bytes(context: LoadContext) -> None:
    splits = digits(context)
    assert (len(splits.train), len(splits.test)) == (1437, 360)
    assert splits.train.shape == (1, 8, 8)
    assert splits.classes == tuple("0123456789")
    images = torch.cat([splits.train.images, splits.test.images])
    # 0 to 16 becomes 0 to 255: 16 -> 255, 8 -> 127.5 -> 128, 1 -> 15.9375 -> 16
    assert {0, 16, 128, 255} <= set(images.unique().tolist())
    assert len(images.unique()) == 17
    expected = torch.from_numpy(load_digits().images * 255 / 16).round().sum()
    assert images.sum() == expected


def test_the_test_split_is_stratified_and_said_to_be_cut(context: LoadContext) -> None:
    splits = digits(context)
    counts = splits.test.labels.bincount()
    assert counts.min() >= 34
    assert counts.max() <= 37
    assert "no official test split: 360 of its 1,797" in splits.notes[0]


def test_what_was_read_once_is_found_without_the_library(
    context: LoadContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> Entry:
        raise AssertionError("it is read again")

    first = digits(context, rotation=90)
    monkeypatch.setattr(embedded, "_read_digits", gone)
    again = digits(context, rotation=90)
    assert (again.classes, again.notes) == (first.classes, first.notes)
    for name, split in first.named().items():
        assert torch.equal(again.named()[name].images, split.images)
        assert torch.equal(again.named()[name].labels, split.labels)
    with pytest.raises(AssertionError, match="read again"):
        digits(replace(context, cache=context.cache / "other"))


def test_naming_a_source_loads_no_library() -> None:
    program = "import adapterlab.data.sources.embedded, sys; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"sklearn", "scipy", "pandas"}.intersection(ended.stdout.split())


@pytest.mark.parametrize("quarter_turns", [1, 2, 3, -1, 4])
def test_rotation_turns_the_same_rows_counterclockwise(
    context: LoadContext, quarter_turns: int
) -> None:
    plain, rotated = digits(context), digits(context, rotation=90 * quarter_turns)
    for name, split in plain.named().items():
        turned = rotated.named()[name]
        assert torch.equal(turned.labels, split.labels)
        assert torch.equal(turned.images, torch.rot90(split.images, quarter_turns, (2, 3)))


def test_a_quarter_turn_brings_the_right_column_to_the_top(context: LoadContext) -> None:
    plain, rotated = digits(context), digits(context, rotation=90)
    assert torch.equal(rotated.train.images[0, 0, 0], plain.train.images[0, 0, :, -1])


def test_the_shape_of_the_context_is_obeyed(context: LoadContext) -> None:
    assert digits(replace(context, shape=(3, 16, 16))).test.shape == (3, 16, 16)


@pytest.mark.parametrize("rotation", [45, 1, -10])
def test_other_rotations_are_refused(context: LoadContext, rotation: int) -> None:
    with pytest.raises(ConfigError, match=f"rotation is {rotation}; allowed: multiples of 90"):
        digits(context, rotation=rotation)
