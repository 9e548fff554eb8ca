from pathlib import Path

import pytest
import torch

from adapterlab.data.duplicates import alike
from adapterlab.data.splits import ImageSplit, TextSplit


def numbers(cache: Path, **texts: list[str]) -> dict[str, list[int]]:
    splits = {
        name: TextSplit(tuple(rows), torch.zeros(len(rows), dtype=torch.int64))
        for name, rows in texts.items()
    }
    return {name: found.tolist() for name, found in alike(splits, "key", cache).items()}


def test_texts_are_equal_but_for_case_white_space_and_unicode_form(tmp_path: Path) -> None:
    found = numbers(
        tmp_path,
        train=["Good film", "gro\u0308\u00dfer", "a cat", "other"],
        test=[" good\u00a0 FILM\n", "GR\u00d6SSER", "\uff41 c\u200bat", "good-film"],
    )
    assert found == {"train": [0, 1, 2, 3], "test": [0, 1, 2, 4]}
    assert not list(tmp_path.iterdir())  # a few are compared faster than read


@pytest.mark.parametrize("text", [".", "?!", "x", " 7 ", "\u200b\u200b", "-\n-"])
def test_a_text_that_says_next_to_nothing(text: str, tmp_path: Path) -> None:
    assert numbers(tmp_path, train=["so it is", text]) == {"train": [0, -2]}


@pytest.mark.parametrize("text", ["no", "\u597d", "\U0001f600", "42", "c)d", "\u0643\u0644"])
def test_a_short_text_that_says_something(text: str, tmp_path: Path) -> None:
    assert numbers(tmp_path, train=[text]) == {"train": [0]}


def test_images_are_equal_by_their_pixels(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    images[2] = images[0]
    images[3] = images[3, :, :1, :1]
    other = images.clone()
    other[1, 2, 4, 4] += 1
    labels = torch.arange(4)
    splits = {"train": ImageSplit(images, labels), "test": ImageSplit(other, labels)}
    found = alike(splits, "key", tmp_path)
    assert found["train"].tolist() == [0, 1, 0, -3]
    assert found["test"].tolist() == [0, 3, 0, -3]


def test_many_examples_are_compared_once_for_a_key(tmp_path: Path) -> None:
    def split(first: str) -> dict[str, TextSplit]:
        texts = (first, *(f"text {row}" for row in range(6_000)))
        return {"train": TextSplit(texts, torch.zeros(6_001, dtype=torch.int64))}

    assert alike(split("text 1"), "a", tmp_path)["train"][:3].tolist() == [0, 1, 0]
    # The key stands for the examples, so these are not looked at.
    assert alike(split("other"), "a", tmp_path)["train"][:3].tolist() == [0, 1, 0]
    assert alike(split("other"), "b", tmp_path)["train"][:3].tolist() == [0, 1, 2]
