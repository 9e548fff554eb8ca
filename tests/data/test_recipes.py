"""Augmentation by torchvision: own draws for each image, the same ones for the same batch."""

import pytest
import torch

from adapterlab.base.errors import ConfigError
from adapterlab.data.recipes import NAMES, Recipes
from small_images import data


def images(channels: int = 3) -> torch.Tensor:
    """Return twelve copies of one image: what tells them apart afterwards are their draws."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randint(0, 256, (1, channels, 8, 10), dtype=torch.uint8, generator=generator)
    return one.repeat(12, 1, 1, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_images_have_draws_of_their_own_that_a_seed_brings_back(name: str, channels: int) -> None:
    recipes, before = Recipes([name], (8, 10)), torch.get_rng_state()
    first = recipes(images(channels), 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(recipes(images(channels), 1), first)
    assert not torch.equal(recipes(images(channels), 2), first)
    assert first.shape == images(channels).shape
    assert first.dtype == torch.uint8
    assert len({image.numpy().tobytes() for image in first}) > 4


def test_they_go_one_after_the_other() -> None:
    both = Recipes(["color", "resized_crop"], (8, 10))(images(), 1)
    assert not torch.equal(both, Recipes(["color"], (8, 10))(images(), 1))
    assert Recipes([], (8, 10))(images(), 1) is not None
    assert not Recipes([], (8, 10))


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"dataset.augment=\['trivail'\]; .*did you mean trivial"):
        Recipes(["trivail"], (8, 10))


class TestBatches:
    def test_training_batches_alone_are_augmented(self) -> None:
        plain, augmented = data(), data(recipes=["trivial"])
        assert augmented.augments
        assert not plain.augments
        for split in ("train", "validation", "test"):
            for one, other in zip(plain.batches(split), augmented.batches(split), strict=True):
                assert torch.equal(one.inputs, other.inputs)
        (first, *_), (again, *_) = (list(augmented.training_batches(0)) for _ in range(2))
        assert torch.equal(first.inputs, again.inputs)
        (without, *_) = plain.training_batches(0)
        (later, *_) = augmented.training_batches(1)
        assert not torch.equal(first.inputs, without.inputs)
        assert not torch.equal(first.inputs, later.inputs)

    def test_a_lane_sees_what_it_would_see_alone(self) -> None:
        batches = data(recipes=["trivial"], flip=True)
        alone = [list(batches.in_order(seed).training_batches(0)) for seed in (0, 1)]
        for number, both in enumerate(batches.side_by_side([0, 1], 0)):
            expected = torch.cat([batch[number].inputs for batch in alone])
            assert torch.equal(both.inputs, expected)
