import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from adapterlab.base.errors import ConfigError
from adapterlab.data import ImageSplit, ImageSplits, transforms
from adapterlab.data.transforms import Augment, Normalize, splits_to_shape, to_shape


def row(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(1, 1, 1, -1)


def random_images(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestToShape:
    def test_shrinking_weighs_by_a_triangle_as_wide_as_the_step(self) -> None:
        # Halving: pixel centres at 0.5, 1.5, 2.5 lie 0.5, 0.5, 1.5 from 1, so 3/7, 3/7, 1/7.
        shrunk = to_shape(row(0, 70, 140, 210), (1, 1, 2))
        assert shrunk.flatten().tolist() == [50, 160]

    def test_growing_interpolates_between_pixel_centres(self) -> None:
        # Doubling samples at -0.25, 0.25, 0.75, 1.25, the ends held at the border.
        assert to_shape(row(0, 100), (1, 1, 4)).flatten().tolist() == [0, 25, 75, 100]

    def test_rgb_becomes_luminance(self) -> None:
        rgb = torch.tensor([100, 150, 200], dtype=torch.uint8).view(1, 3, 1, 1)
        # 0.299 * 100 + 0.587 * 150 + 0.114 * 200 = 140.75
        assert to_shape(rgb, (1, 1, 1)).item() == 141

    def test_grayscale_is_repeated(self) -> None:
        images = random_images(2, 1, 3, 5)
        assert torch.equal(to_shape(images, (3, 3, 5)), images.expand(-1, 3, -1, -1))

    def test_luminance_is_that_of_pillow(self) -> None:
        rgb = random_images(1, 3, 64, 64)
        image = Image.fromarray(rgb[0].permute(1, 2, 0).numpy())
        assert np.array_equal(
            to_shape(rgb, (1, 64, 64))[0, 0].numpy(), np.asarray(image.convert("L"))
        )

    @pytest.mark.parametrize("size", [(8, 8), (40, 9), (31, 33)])
    def test_sizes_change_as_in_pillow(self, size: tuple[int, int]) -> None:
        rgb = random_images(1, 3, 20, 20)
        image = Image.fromarray(rgb[0].permute(1, 2, 0).numpy())
        resized = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
        ours = to_shape(rgb, (3, *size))[0].permute(1, 2, 0).numpy()
        assert np.abs(ours - resized).max() <= 1

    def test_chunks_do_not_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        images = random_images(7, 3, 6, 6)
        whole = to_shape(images, (1, 4, 5))
        monkeypatch.setattr(transforms, "_CHUNK_BYTES", 2 * 3 * 6 * 6)
        assert torch.equal(to_shape(images, (1, 4, 5)), whole)

    def test_the_shape_it_has_costs_nothing(self) -> None:
        images = random_images(2, 1, 3, 3)
        assert to_shape(images, (1, 3, 3)) is images

    @pytest.mark.parametrize("shape", [(2, 3, 3), (4, 3, 3), (3, 0, 3)])
    def test_impossible_shapes_are_refused(self, shape: tuple[int, int, int]) -> None:
        with pytest.raises(ConfigError, match="allowed"):
            to_shape(random_images(1, 1, 3, 3), shape)

    def test_every_split_gets_the_shape(self) -> None:
        split = ImageSplit(random_images(2, 1, 4, 4), torch.tensor([0, 1]))
        splits = ImageSplits(split, split, ("a", "b"), validation=split, notes=("a note",))
        reshaped = splits_to_shape(splits, (3, 2, 2))
        assert {s.shape for s in reshaped.named().values()} == {(3, 2, 2)}
        assert len(reshaped.named()) == 3
        assert reshaped.notes == ("a note",)
        assert splits_to_shape(splits, None) is splits


class TestNormalize:
    def test_golden_values(self) -> None:
        images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
        normalised = Normalize([0.5], [0.25], channels=1)(images)
        # (0 - 0.5) / 0.25, (0.2 - 0.5) / 0.25, (1 - 0.5) / 0.25
        torch.testing.assert_close(normalised.flatten(), torch.tensor([-2.0, -1.2, 2.0]))
        assert normalised.dtype == torch.float32

    def test_each_channel_has_its_own(self) -> None:
        images = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
        normalised = Normalize([0.0, 0.5, 1.0], [1.0, 0.5, 0.1], channels=3)(images)
        torch.testing.assert_close(normalised.flatten(), torch.tensor([1.0, 1.0, 0.0]))

    def test_statistics_follow_a_change_of_channels(self) -> None:
        one_to_three = Normalize([0.3], [0.2], channels=3)
        assert one_to_three.mean == (0.3, 0.3, 0.3)
        three_to_one = Normalize([0.1, 0.2, 0.6], [0.1, 0.2, 0.3], channels=1)
        assert three_to_one.mean == pytest.approx((0.3,))
        assert three_to_one.std == pytest.approx((0.2,))

    def test_it_leaves_its_input_alone(self) -> None:
        images = random_images(2, 1, 3, 3)
        before = images.clone()
        Normalize([0.5], [0.5], channels=1)(images)
        assert torch.equal(images, before)

    @pytest.mark.parametrize(
        ("mean", "std", "message"),
        [
            ([0.1, 0.2], [1.0], "mean has 2 values for images of 3 channels; allowed: 3"),
            ([], [1.0], "mean has 0 values"),
            ([0.5], [0.0], r"std is \[0.0\]; allowed: numbers above 0"),
        ],
    )
    def test_statistics_that_do_not_fit(
        self, mean: list[float], std: list[float], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            Normalize(mean, std, channels=3)


class TestAugment:
    def test_off_is_the_identity(self) -> None:
        images = random_images(3, 3, 4, 4)
        assert not Augment().active
        assert Augment()(images, generator()) is images

    def test_a_certain_flip_mirrors_left_to_right(self) -> None:
        mirrored = Augment(flip=1.0)(row(1, 2, 3), generator())
        assert mirrored.flatten().tolist() == [3, 2, 1]

    def test_a_crop_shows_every_shift_and_black_beyond_the_border(self) -> None:
        image = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
        shifted = {
            (0, 0, 0, 1), (0, 0, 1, 2), (0, 0, 2, 0),
            (0, 1, 0, 3), (1, 2, 3, 4), (2, 0, 4, 0),
            (0, 3, 0, 0), (3, 4, 0, 0), (4, 0, 0, 0),
        }  # fmt: skip
        cropped = Augment(crop=1)(image.expand(500, 1, 2, 2), generator())
        assert {tuple(pixels) for pixels in cropped.flatten(1).tolist()} == shifted

    def test_half_of_the_images_flip(self) -> None:
        mirrored = Augment(flip=0.5)(row(0, 1).expand(10_000, 1, 1, 2), generator())
        assert int(mirrored[:, 0, 0, 0].sum()) == pytest.approx(5000, abs=5 * 50)  # 5 sigma

    def test_same_generator_state_same_images(self) -> None:
        images, augment = random_images(16, 3, 8, 8), Augment(crop=2, flip=0.5)
        first, again, other = (augment(images, generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    @given(
        batch=st.integers(1, 5),
        channels=st.sampled_from([1, 3]),
        height=st.integers(1, 7),
        width=st.integers(1, 7),
        crop=st.integers(0, 3),
        flip=st.sampled_from([0.0, 0.5, 1.0]),
        seed=st.integers(0, 2**32),
    )
    def test_it_equals_pad_cut_and_mirror_one_image_at_a_time(
        self, batch: int, channels: int, height: int, width: int, crop: int, flip: float, seed: int
    ) -> None:
        images = random_images(batch, channels, height, width, seed=seed)
        augmented = Augment(crop=crop, flip=flip)(images, generator(seed))
        draws = generator(seed)
        top, left = torch.randint(0, 2 * crop + 1, (2, batch, 1), generator=draws)
        mirrored = torch.rand((batch, 1), generator=draws) < flip
        for i in range(batch):
            padded = F.pad(images[i], (crop,) * 4)
            cut = padded[:, top[i] : top[i] + height, left[i] : left[i] + width]
            assert torch.equal(augmented[i], cut.flip(-1) if mirrored[i] else cut)

    @pytest.mark.parametrize("arguments", [{"crop": -1}, {"flip": 1.5}, {"flip": -0.1}])
    def test_impossible_settings_are_refused(self, arguments: dict[str, float]) -> None:
        with pytest.raises(ConfigError, match=f"{next(iter(arguments.values()))}; allowed: 0"):
            Augment(**arguments)  # type: ignore[arg-type]
