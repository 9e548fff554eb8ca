"""Images as people have them: sizes, formats, depths, transparency, folders, labels in a file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import deep_png, photo
from PIL import Image

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.data.scrutiny import require_different
from adapterlab.data.sources import LoadContext
from adapterlab.data.sources.image_folder import image_folder
from adapterlab.data.splits import ImageSplits, hold_out


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return tmp_path / "pets"


@pytest.fixture
def load(context: LoadContext, pets: Path) -> Callable[..., ImageSplits]:
    def load(of_model: Any = None, **options: Any) -> ImageSplits:
        return image_folder(replace(context, of_model=of_model), pets, **options)

    return load


def save(path: Path, image: Any, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(path, **options)


def fill(home: Path, count: int = 4, suffix: str = "png") -> None:
    for offset, name in enumerate(("cat", "dog")):
        for i in range(count):
            save(home / name / f"{i}.{suffix}", photo(10 * i + offset))


def both(pets: Path, **options: Any) -> None:
    for split in ("train", "test"):
        fill(pets / split, **options)


class TestSizes:
    def test_those_that_differ_get_the_models(self, pets: Path, load: Any) -> None:
        both(pets)
        save(pets / "train" / "cat" / "0.png", photo(7, 6, 9))
        splits = load(of_model=(3, 5, 5))
        assert splits.train.shape == (3, 5, 5)
        assert splits.notes == (
            "images of 2 sizes, 4x4 to 6x9 (height x width), are brought to the model's [3, 5, 5]",
        )
        assert load(of_model=(1, 2, 2)).train.shape == (1, 2, 2)
        with pytest.raises(DataError, match="images differ in size"):
            load()

    def test_those_that_do_not_stay_as_they_are(self, pets: Path, load: Any) -> None:
        both(pets)
        splits = load(of_model=(3, 5, 5))
        assert splits.train.shape == (3, 4, 4)
        assert splits.notes == ()

    def test_a_camera_on_its_side_has_the_size_that_is_seen(self, pets: Path, load: Any) -> None:
        both(pets)
        exif = Image.Exif()
        exif[0x0112] = 6
        for path in pets.rglob("*.png"):
            save(path, photo(1, 4, 8))
        save(pets / "train" / "cat" / "1.jpg", photo(1, 8, 4), exif=exif)
        assert load(of_model=(3, 5, 5)).train.shape == (3, 4, 8)


class TestKinds:
    @pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "bmp", "jfif", "ppm"])
    def test_formats(self, pets: Path, load: Any, suffix: str) -> None:
        both(pets, suffix=suffix)
        assert len(load().train) == 8

    def test_16_bits_are_read_by_their_upper_8_and_said(self, pets: Path, load: Any) -> None:
        both(pets)
        deep = np.array([[0, 255], [256, 51_200]], dtype=np.uint16)
        for path in pets.rglob("*.png"):
            save(path, deep)
        save(pets / "train" / "cat" / "9.tif", deep.astype(np.int32))
        splits = load()
        assert splits.train.images[0].tolist() == [[[0, 0], [1, 200]]]
        assert splits.train.images[4].tolist() == [[[0, 0], [1, 200]]]
        (note,) = splits.notes
        assert note == (
            "17 images are of 16 bits, of which the upper 8 are seen (the highest value is 51,200 "
            "of 65,535)"
        )

    def test_16_bits_of_colours_are_said_too(self, pets: Path, load: Any) -> None:
        """As of microscopes, whose values may all be the same by their upper 8 bits."""
        both(pets)
        deep = np.full((4, 4, 3), [0, 255, 256], dtype=np.uint16)
        deep[3, 3] = 16 * 257
        for path in pets.rglob("cat/*.png"):
            path.write_bytes(deep_png(deep))
        (pets / "train" / "dog" / "9.ppm").write_bytes(
            b"P6 4 4 65535\n" + deep.astype(">u2").tobytes()
        )
        splits = load()
        assert splits.train.images[0, :, 0, 0].tolist() == [0, 0, 1]
        (note,) = splits.notes
        assert note == (
            "9 images are of 16 bits a colour, of which the upper 8 are seen (the highest value of "
            "these is 16 of 255)"
        )


class TestTransparency:
    def write(self, pets: Path, mode: str = "RGBA") -> None:
        """Classes that differ in their transparency only."""
        for split in ("train", "test"):
            for name, opacity in (("cat", 0), ("dog", 255)):
                for i in range(3):
                    pixels = np.full((4, 4, 4), 100, dtype=np.uint8)
                    pixels[..., 3] = opacity
                    image = Image.fromarray(pixels).convert(mode)
                    save(pets / split / name / f"{i}.png", image)

    def test_it_is_said_and_a_background_is_an_option(self, pets: Path, load: Any) -> None:
        self.write(pets)
        plain = load()
        assert set(plain.train.images.flatten().tolist()) == {100}
        assert "6 images are transparent in part, of which only the colours are" in plain.notes[0]
        numbers = {name: torch.zeros(len(split)) for name, split in plain.named().items()}
        with pytest.raises(DataError, match=r"nothing can be learnt \(6 images are transparent"):
            require_different(plain, numbers)
        for background in ("white", "#ffffff", [255, 255, 255]):
            splits = load(background=background)
            assert splits.train.images[:, 0, 0, 0].tolist() == [255] * 3 + [100] * 3
            assert splits.notes == (
                "6 images are transparent in part, put on the colour [255, 255, 255]",
            )

    def test_gray_stays_gray_on_gray(self, pets: Path, load: Any) -> None:
        self.write(pets, "LA")
        assert load(background="black").train.shape == (1, 4, 4)
        assert load(background="red").train.images[0, :, 0, 0].tolist() == [255, 0, 0]

    @pytest.mark.parametrize("value", ["sky", [1, 2], [0, 0, 256]])
    def test_what_is_no_colour(self, pets: Path, load: Any, value: Any) -> None:
        both(pets)
        with pytest.raises(ConfigError, match=r"dataset.loader.background=.* is no colour; such"):
            load(background=value)


class TestSplits:
    def test_folders_of_classes_alone_are_cut(self, pets: Path, load: Any) -> None:
        fill(pets, count=10)
        splits = load()
        assert (len(splits.train), len(splits.test)) == (16, 4)
        assert splits.test.labels.sum() == 2
        assert splits.notes[0].startswith("pets has no test split: it is 4 of its 20 rows, cut by")
        row = splits.origins["test"].number(0)
        assert splits.test.images[0, 0, 0, 0] == 10 * (row % 10) + row // 10
        tests = [load(folds=5, fold=fold).test.images[:, 0, 0, 0] for fold in range(5)]
        assert len(torch.cat(tests).unique()) == 20

    def test_other_names_of_splits_are_said(self, pets: Path, load: Any) -> None:
        both(pets)
        fill(pets / "valid")
        splits = load()
        assert len(splits.validation) == 8
        assert splits.notes == ("valid is read as the validation split",)

    def test_one_folder_is_no_data_set(self, pets: Path, load: Any) -> None:
        save(pets / "cats" / "0.png", photo(1))
        with pytest.raises(
            DataError, match=r"pets has the images of one class only, cats: nothing"
        ):
            load()


class TestLabelsInAFile:
    def write(self, pets: Path, header: str, rows: list[str]) -> None:
        for i in range(12):
            save(pets / "images" / f"p{i}.png", photo(10 * i))
        (pets / "labels.csv").write_text("\n".join([header, *rows]) + "\n")

    @pytest.mark.parametrize("name", ["images/p{}.png", "p{}.png", "p{}"])
    def test_files_may_be_called_in_several_ways(self, pets: Path, load: Any, name: str) -> None:
        rows = [f"{name.format(i)},{'cat' if i % 3 else 'dog'}" for i in range(12)]
        self.write(pets, "file,breed", rows)
        splits = load(labels="labels.csv", test=0.25)
        assert splits.classes == ("cat", "dog")
        for split in (splits.train, splits.test):
            for image, label in zip(split.images, split.labels.tolist(), strict=True):
                number = int(image[0, 0, 0]) // 10
                assert splits.classes[label] == ("cat" if number % 3 else "dog")
        assert any("labels.csv: the label is in 'breed', by the" in note for note in splits.notes)

    def test_splits_and_groups_of_the_file(self, pets: Path, load: Any) -> None:
        parts = ["train"] * 8 + ["test"] * 4
        rows = [f"p{i}.png,{i % 2},{parts[i]},g{i // 2}" for i in range(12)]
        self.write(pets, "image,label,split,patient", rows)
        splits = load(labels="labels.csv", group_column="patient")
        assert sorted(splits.test.images[:, 0, 0, 0].tolist()) == [80, 90, 100, 110]
        assert list(splits.called("test", [0]).ids) == ["p10.png"]
        assert list(splits.called("test", [0]).files) == ["pets/images/p10.png"]
        train, validation = hold_out(splits, 0.25, 0)
        numbers = [(part.images[:, 0, 0, 0] // 20).tolist() for part in (train, validation)]
        assert not {*numbers[0]} & {*numbers[1]}
        folds = [load(labels="labels.csv", folds=2, fold=fold) for fold in (0, 1)]
        seen = torch.cat([fold.test.images[:, 0, 0, 0] for fold in folds])
        assert sorted(seen.tolist()) == [10 * i for i in range(12)]
        assert "its column 'split' is passed over, so that" in " ".join(folds[0].notes)
        self.write(pets, "image,label,split,patient", [*rows[:-1], "p11.png,1,test,g0"])
        said = "1 group of patient in test is in train too: g0"
        assert said in load(labels="labels.csv", group_column="patient").notes
        (pets / "images").rename(pets / "train")
        save(pets / "test" / "q.png", photo(1))
        with pytest.raises(ConfigError, match=r"folds=2 is .* there is one: .*test"):
            load(labels="labels.csv", folds=2)

    def test_what_does_not_fit(self, pets: Path, load: Any) -> None:
        self.write(pets, "image,label", [f"p{i}.png,{i % 2}" for i in range(11)])
        with pytest.raises(DataError, match=r"labels.csv has no label for 'images/p9.png'|p11"):
            load(labels="labels.csv")
        with pytest.raises(DataError, match=r"dataset.loader.labels=more.csv: .* is no file"):
            load(labels="more.csv")
