"""Coarser labels: every image that stays is the same, and what it is called has changed."""

import re
from pathlib import Path

import pytest
import torch

from adapterlab.base.errors import ConfigError
from adapterlab.config import conf_folder
from adapterlab.data.origin import Origin
from adapterlab.data.sources import LoadContext
from adapterlab.data.sources.torchvision_files import mnist
from adapterlab.data.splits import ImageSplit, ImageSplits
from adapterlab.data.superclasses import Superclasses, joined, require_superclasses
from adapterlab.runs.identity import arm_hash, config_hash
from lab import compose

CLASSES = ("cat", "ship", "dog")
ANIMALS = {"vehicle": ["ship"], "animal": ["cat", "dog"]}


def splits() -> ImageSplits:
    """Six rows to train on and three to test on; the pixels number them."""

    def split(labels: list[int]) -> ImageSplit:
        images = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)
        return ImageSplit(images, torch.tensor(labels))

    train, test = split([0, 1, 2, 1, 0, 2]), split([2, 0, 1])
    home = conf_folder.CONF / "rows.idx"
    return ImageSplits(train, test, CLASSES, groups=torch.arange(6), origins={"test": Origin(home)})


def pixels(split: ImageSplit) -> list[int]:
    return split.images.flatten().tolist()


def test_joined_in_the_order_that_was_given() -> None:
    found = joined("pets", splits(), ANIMALS)
    assert found.classes == ("vehicle", "animal")
    assert found.train.labels.tolist() == [1, 0, 1, 0, 1, 1]
    assert found.test.labels.tolist() == [1, 1, 0]
    assert (pixels(found.train), pixels(found.test)) == ([0, 1, 2, 3, 4, 5], [0, 1, 2])
    assert found.notes == ("the classes of pets are vehicle (ship) and animal (cat, dog)",)


def test_what_is_in_no_superclass_is_left_out_of_every_split() -> None:
    found = joined("pets", splits(), {"dog": ["dog"], "cat": ["cat"]})
    assert found.train.labels.tolist() == [1, 0, 1, 0]
    assert (pixels(found.train), pixels(found.test)) == ([0, 2, 4, 5], [0, 1])
    assert found.groups is not None
    assert found.groups.tolist() == [0, 2, 4, 5]
    assert found.notes[-1] == "the classes of pets are dog and cat, without ship"
    (row,) = joined("pets", splits(), {"a": ["ship"], "b": ["cat"]}).called("test", [1]).numbers
    assert row == 2, "rows are called what their file calls them"


def test_without_superclasses_nothing_changes() -> None:
    whole = splits()
    assert joined("pets", whole, None) is whole


@pytest.mark.parametrize(
    ("superclasses", "said"),
    [
        ({"animal": ["cat", "dog"]}, "has 1 classes; allowed: two or more"),
        ({"a": ["cat"], "a ": ["dog"]}, "'a' and 'a '"),
        ({"a": ["cat"], "b": []}, "superclasses.b has no class; allowed: cat"),
        ({"a": ["cat"], "b": ["dgo"]}, "superclasses.b: dgo is no class; allowed: cat, ship"),
        ({"a": ["cat", "dog"], "b": ["dog"]}, "dog is in a and in b; allowed: one"),
        ({"a": ["cat", "cat"], "b": ["dog"]}, "cat is in a and in a; allowed: one"),
    ],
)
def test_superclasses_that_do_not_fit(superclasses: Superclasses, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        require_superclasses(superclasses, CLASSES)


def test_refused_before_files_are_looked_for(context: LoadContext) -> None:
    with pytest.raises(ConfigError, match="is no class"):
        mnist(context, superclasses={"a": ["ten"], "b": ["0"]})


def test_configurations_of_before_keep_their_hashes(tmp_path: Path) -> None:
    """They had no such option, and run on."""
    plain = compose(tmp_path, "dataset=fashion_mnist", "adapter=head")
    del plain.dataset.loader["superclasses"]
    now = compose(tmp_path, "dataset=fashion_mnist", "adapter=head")
    assert "superclasses" in now.dataset.loader
    assert (config_hash(now), arm_hash(now)) == (config_hash(plain), arm_hash(plain))
    two = compose(tmp_path, "dataset=fashion_sleeves", "adapter=head", "dataset.name=fashion_mnist")
    assert arm_hash(two) != arm_hash(now)
