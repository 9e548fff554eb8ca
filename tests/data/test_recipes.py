"""Augmentation by torchvision: own draws for each image, the same ones for the same batch."""

from typing import Any

import pytest
import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before torchvision, see there

# isort: split

from torchvision.transforms import v2

from adapterlab.base.errors import ConfigError
from adapterlab.data.recipe_kernels import KERNELS, MOVES, matrix_of, warped
from adapterlab.data.recipes import NAMES, Recipes
from small_images import data


def images(channels: int = 3) -> torch.Tensor:
    """Return twelve copies of one image: what tells them apart afterwards are their draws."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randint(0, 256, (1, channels, 8, 10), dtype=torch.uint8, generator=generator)
    return one.repeat(12, 1, 1, 1)


def one_by_one(names: list[str], images: torch.Tensor, seed: int) -> torch.Tensor:
    """Let torchvision's transforms draw and do all of it."""
    size = images.shape[2:]
    made = {
        "trivial": v2.TrivialAugmentWide(),
        "randaugment": v2.RandAugment(),
        "color": v2.ColorJitter(0.4, 0.4, 0.4),
        "resized_crop": v2.RandomResizedCrop(size, scale=(0.35, 1.0), antialias=True),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.stack([v2.Compose([made[name] for name in names])(one) for one in images])


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 9, 12), (3, 2, 7), (3, 5, 40)], ids=str)
@pytest.mark.parametrize("names", [*([name] for name in NAMES), ["resized_crop", "randaugment"]])
def test_a_batch_becomes_what_torchvision_makes_of_its_images(
    names: list[str], shape: tuple[int, int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (96, *shape), dtype=torch.uint8, generator=generator)
    batch[:24] = batch[:24, :1]  # grey, where rounding decides
    batch[24:30] = 100
    before = batch.clone()
    for seed in (1, 2):
        found = Recipes(names, shape[1:])(batch, seed)
        assert torch.equal(found, one_by_one(names, batch, seed))
        assert torch.equal(batch, before)


@pytest.mark.parametrize("transform", [v2.TrivialAugmentWide(), v2.RandAugment()])
def test_every_operation_is_torchvisions_at_every_magnitude(transform: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, (make, signed) in transform._AUGMENTATION_SPACE.items():
        values = make(31, 12, 12)
        by = [0.0] if values is None else values.tolist()
        by += [-one for one in by] if signed else []
        batch = torch.randint(0, 256, (len(by), 3, 12, 12), dtype=torch.uint8, generator=generator)
        if name in MOVES:
            found = warped(batch, [matrix_of(name, one, (12, 12)) for one in by])
        else:
            found = KERNELS[name](batch, by)
        told = {"interpolation": v2.InterpolationMode.NEAREST, "fill": transform._fill}
        for one, image, its in zip(found, batch, by, strict=True):
            wanted = transform._apply_image_or_video_transform(image, name, its, **told)
            assert torch.equal(one, wanted), (name, its)


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
        for number, both in enumerate(batches.side_by_side([(0, 0), (1, 0)])):
            expected = torch.cat([batch[number].inputs for batch in alone])
            assert torch.equal(both.inputs, expected)
