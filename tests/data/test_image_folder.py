import logging
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import Pixels, photo, png
from PIL import Image

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.data.sources import LoadContext
from adapterlab.data.sources.decode import Encoded, Lost, decode
from adapterlab.data.sources.image_folder import image_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, train and test: ``here/pets/train/cat/0.png`` and so on."""
    root = tmp_path / "here" / "pets"
    for split, values in (("train", (10, 20, 30)), ("test", (40,))):
        for offset, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for i, value in enumerate(values):
                write(root / split / name / f"{i}.png", photo(value + offset))
    return root


def write(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(pixels))


def test_classes_are_the_sorted_folders(context: LoadContext, folder: Path) -> None:
    splits = image_folder(context, folder)
    assert splits.classes == ("cat", "dog")
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert splits.train.images[:, 0, 0, 0].tolist() == [10, 20, 30, 11, 21, 31]
    assert splits.train.images[0, :, 3, 3].tolist() == [10, 5, 245]
    assert splits.test.labels.tolist() == [0, 1]
    assert splits.validation is None


def test_val_is_the_validation_split(context: LoadContext, folder: Path) -> None:
    write(folder / "val" / "cat" / "a.png", photo(1))
    write(folder / "val" / "dog" / "b.png", photo(2))
    validation = image_folder(context, folder).validation
    assert validation is not None
    assert validation.images[:, 0, 0, 0].tolist() == [1, 2]


def test_a_relative_path_is_searched(context: LoadContext, folder: Path) -> None:
    assert len(image_folder(context, "pets").train) == 6
    with pytest.raises(DataError, match=f"no folder cars; looked at {context.search[0]}/cars, "):
        image_folder(context, "cars")


def test_hidden_files_are_passed_over(context: LoadContext, folder: Path) -> None:
    (folder / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / ".git").mkdir()
    assert len(image_folder(context, folder).train) == 6


def test_what_systems_leave_in_folders_is_passed_over(context: LoadContext, folder: Path) -> None:
    for name in ("train/cat/Thumbs.db", "train/desktop.ini", "__MACOSX/train/._0.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    splits = image_folder(context, folder)
    assert len(splits.train) == 6
    (note,) = splits.notes
    assert note.startswith("passed over, being files of systems: __MACOSX, train/cat/Thumbs.db, tr")


def test_what_is_lost_of_an_image_is_said_also_from_the_cache(
    context: LoadContext, folder: Path
) -> None:
    clear, opaque = (np.full((4, 4, 4), value, dtype=np.uint8) for value in (7, 255))
    Image.fromarray(clear).save(folder / "train" / "cat" / "0.png")
    Image.fromarray(opaque).save(folder / "train" / "cat" / "1.png")
    frames = [Image.fromarray(photo(value)) for value in (1, 2)]
    frames[0].save(folder / "test" / "dog" / "0.png", save_all=True, append_images=frames[1:])
    for _ in range(2):
        assert image_folder(context, folder).notes == (
            "1 image is transparent in part, of which only the colours are seen "
            "(dataset.loader.background=white puts them on it)",
            "1 image is of several frames, of which the first is seen",
        )


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_of_several_frames_the_first_is_seen(kind: str, mode: str) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 4), dtype=np.uint8)
    frames = [Image.fromarray(one, "RGBA").convert(mode) for one in drawn]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    buffer = BytesIO()
    frames[0].save(buffer, format=kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(BytesIO(buffer.getvalue())) as file:
        first = np.asarray(file.convert("RGB"))
    lost = Lost()
    (found,) = decode(
        [Encoded(1, lambda _: buffer.getvalue(), lambda _: "it")], (3, 8, 8), "one", lost
    )
    assert torch.equal(found[0], torch.from_numpy(first.copy()).permute(2, 0, 1))
    assert lost.moving == 1


@pytest.mark.parametrize(("name", "message"), [
    ("val.zip", "val.zip is not read: the validation split is .*/validation/<class>/<image>"),
    ("val", "val is a file; wanted: a folder"),
])  # fmt: skip
def test_a_validation_split_that_would_not_be_read(
    name: str, message: str, context: LoadContext, folder: Path
) -> None:
    (folder / name).write_text("x")
    with pytest.raises(DataError, match=message):
        image_folder(context, folder)


class TestPixels:
    def gray(self, folder: Path) -> None:
        for path in folder.rglob("*.png"):
            write(path, np.full((4, 4), 7, dtype=np.uint8))

    def test_all_grayscale_stays_grayscale(self, context: LoadContext, folder: Path) -> None:
        self.gray(folder)
        assert image_folder(context, folder).train.shape == (1, 4, 4)

    def test_one_colour_image_makes_all_rgb(self, context: LoadContext, folder: Path) -> None:
        self.gray(folder)
        write(folder / "test" / "dog" / "0.png", photo(50))
        splits = image_folder(context, folder)
        assert splits.train.images[0, :, 0, 0].tolist() == [7, 7, 7]
        assert splits.test.images[1, :, 0, 0].tolist() == [50, 25, 205]

    def test_a_shape_resizes_and_converts(self, context: LoadContext, folder: Path) -> None:
        write(folder / "train" / "cat" / "0.png", photo(100, 9, 5))
        splits = image_folder(replace(context, shape=(1, 2, 3)), folder)
        assert splits.train.shape == (1, 2, 3)
        # 0.299 * 100 + 0.587 * 50 + 0.114 * 155 = 76.92
        assert splits.train.images[0].unique().tolist() == [77]

    def test_a_camera_on_its_side_is_turned_upright(
        self, context: LoadContext, folder: Path
    ) -> None:
        pixels = np.zeros((8, 8, 3), dtype=np.uint8)
        pixels[:, :4] = 255  # the left half is white
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown turned clockwise, so the top half is white
        for path in list(folder.rglob("*.png")):
            Image.fromarray(pixels).save(path.with_suffix(".jpg"), quality=100, exif=exif)
            path.unlink()
        image = image_folder(context, folder).train.images[0].float()
        assert image[:, :4].mean() > 250
        assert image[:, 4:].mean() < 5

    @pytest.mark.parametrize("shape", [(2, 4, 4), (3, 0, 4)])
    def test_impossible_shapes_are_refused(
        self, context: LoadContext, folder: Path, shape: tuple[int, int, int]
    ) -> None:
        with pytest.raises(ConfigError, match=r"allowed: \[1,H,W\] or \[3,H,W\]"):
            image_folder(replace(context, shape=shape), folder)


class TestErrors:
    def refused(self, context: LoadContext, folder: Path, message: str) -> None:
        with pytest.raises(DataError, match=message):
            image_folder(context, folder)

    def test_sizes_that_differ(self, context: LoadContext, folder: Path) -> None:
        odd = folder / "train" / "dog" / "1.png"
        write(odd, photo(1, 5, 6))
        first = folder / "train" / "cat" / "0.png"
        message = f"{first} is 4x4, {odd} is 5x6 .* dataset.shape=\\[3,32,32\\]"
        self.refused(context, folder, message)

    @pytest.mark.parametrize("keep", [0, 20, 50])
    def test_a_truncated_image(self, context: LoadContext, folder: Path, keep: int) -> None:
        path = folder / "test" / "dog" / "0.png"
        path.write_bytes(path.read_bytes()[:keep])
        self.refused(context, folder, f"{path} is not an image, or damaged")
        assert not list(context.cache.glob("*.safetensors"))

    def test_a_file_of_another_kind(self, context: LoadContext, folder: Path) -> None:
        path = folder / "train" / "cat" / "notes.txt"
        path.write_text("my cats")
        self.refused(context, folder, f"{path} is not an image; allowed: .png")

    def test_text_that_pretends(self, context: LoadContext, folder: Path) -> None:
        path = folder / "train" / "cat" / "9.png"
        path.write_text("my cats")
        self.refused(context, folder, f"{path} is not an image, or damaged")

    def test_colour_without_bounds(self, context: LoadContext, folder: Path) -> None:
        path = folder / "train" / "cat" / "0.png"
        path.unlink()
        path = path.with_suffix(".tif")
        Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(path)
        self.refused(context, folder, f"{path} has pixels of mode F; allowed: 8-bit or 16-bit")

    def test_an_empty_class(self, context: LoadContext, folder: Path) -> None:
        (folder / "train" / "cow").mkdir()
        (folder / "test" / "cow").mkdir()
        self.refused(context, folder, "train/cow has no images")

    def test_classes_that_differ(self, context: LoadContext, folder: Path) -> None:
        write(folder / "test" / "cow" / "0.png", photo(1))
        self.refused(context, folder, "test and .*train have different classes; .* cow$")

    def test_a_missing_split(self, context: LoadContext, folder: Path) -> None:
        (folder / "test").rename(folder / ".test")
        self.refused(context, folder, "test is missing; wanted: .*/{train,test}/<class>/<image>")

    def test_a_split_without_classes(self, context: LoadContext, folder: Path) -> None:
        (folder / "val").mkdir()
        self.refused(context, folder, "val has no class folders")

    def test_an_unknown_split(self, context: LoadContext, folder: Path) -> None:
        (folder / "vali").mkdir()
        self.refused(context, folder, r"vali is no split .* \(did you mean val\?\)")

    def test_an_image_without_a_class(self, context: LoadContext, folder: Path) -> None:
        write(folder / "train" / "loose.png", photo(1))
        self.refused(context, folder, "loose.png is in no class folder")

    @pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails")
    def test_a_disk_that_fails(self, context: LoadContext, folder: Path) -> None:
        path = folder / "train" / "cat" / "0.png"
        path.unlink()
        path.symlink_to("/proc/self/mem")  # reading it fails without a name of the file
        self.refused(context, folder, f"{path} cannot be read: Input/output error")


class TestCache:
    def test_the_second_load_decodes_nothing(
        self, context: LoadContext, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = image_folder(context, folder)
        monkeypatch.setattr("adapterlab.data.sources.image_folder.decode", None)
        second = image_folder(context, folder)
        assert torch.equal(first.train.images, second.train.images)
        assert torch.equal(first.test.labels, second.test.labels)
        assert second.classes == ("cat", "dog")

    def test_a_changed_file_is_read_again(self, context: LoadContext, folder: Path) -> None:
        image_folder(context, folder)
        write(folder / "train" / "cat" / "0.png", photo(99))
        assert image_folder(context, folder).train.images[0, 0, 0, 0] == 99

    def test_another_shape_is_another_entry(self, context: LoadContext, folder: Path) -> None:
        image_folder(context, folder)
        assert image_folder(replace(context, shape=(1, 2, 2)), folder).train.shape == (1, 2, 2)
        assert image_folder(context, folder).train.shape == (3, 4, 4)

    def test_a_link_moved_to_another_class_changes_its_label(
        self, context: LoadContext, folder: Path
    ) -> None:
        link = folder / "train" / "cat" / "9.png"
        link.symlink_to(folder / "train" / "dog" / "0.png")
        assert image_folder(context, folder).train.labels.tolist() == [0] * 4 + [1] * 3
        link.rename(folder / "train" / "dog" / "-1.png")
        assert image_folder(context, folder).train.labels.tolist() == [0] * 3 + [1] * 4

    @pytest.mark.parametrize("damage", ["truncated", "bit", "empty"])
    def test_a_damaged_entry_is_built_again_and_said(
        self,
        context: LoadContext,
        folder: Path,
        damage: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        first = image_folder(context, folder)
        (entry,) = context.cache.glob("*.safetensors")
        content = bytearray(entry.read_bytes())
        if damage == "bit":
            content[-1] ^= 1
        else:
            del content[100 if damage == "truncated" else 0 :]
        entry.write_bytes(bytes(content))
        with caplog.at_level(logging.WARNING):
            again = image_folder(context, folder)
        assert torch.equal(again.train.images, first.train.images)
        assert [record.getMessage().count("is damaged") for record in caplog.records] == [1]
        caplog.clear()
        image_folder(context, folder)
        assert not caplog.records

    def test_nothing_unfinished_is_left(self, context: LoadContext, folder: Path) -> None:
        image_folder(context, folder)
        assert {path.suffix for path in context.cache.iterdir()} == {".safetensors", ".lock"}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF|Truncated File")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF"])
def test_no_truncation_is_half_read(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    whole = buffer.getvalue()

    def decoded(content: bytes) -> torch.Tensor:
        (tensor,) = decode([Encoded(1, lambda _: content, lambda _: "it")], None, "one")
        return tensor

    refused = 0
    for length in range(len(whole)):
        try:
            assert torch.equal(decoded(whole[:length]), decoded(whole))
        except DataError:
            refused += 1
    assert refused >= len(whole) - 20  # 20 bytes: PNG's last checksums and its end mark
