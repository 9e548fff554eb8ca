from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from image_files import photo, png

from adapterlab.base.errors import DataError
from adapterlab.data.sources import LoadContext
from adapterlab.data.sources.parquet import image_parquet


def struct(value: int, size: int = 4) -> dict[str, Any]:
    return {"bytes": png(photo(value, size, size)), "path": f"{value}.png"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three training rows and two test rows of images 10, 20, ... with labels 0 and 1."""
    root = tmp_path / "here" / "pets"
    root.mkdir(parents=True)
    write(root / "train.parquet", [struct(10), struct(20), struct(30)], [0, 1, 0])
    write(root / "test.parquet", [struct(40), struct(50)], [1, 0])
    return root


def write(
    path: Path, images: list[Any], labels: list[Any], columns: tuple[str, str] = ("img", "label")
) -> None:
    pq.write_table(pa.table(dict(zip(columns, (images, labels), strict=True))), path)


def test_rows_are_read_in_order(context: LoadContext, folder: Path) -> None:
    splits = image_parquet(context, folder)
    assert splits.train.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert splits.train.images[0, :, 1, 2].tolist() == [10, 5, 245]
    assert splits.train.labels.tolist() == [0, 1, 0]
    assert splits.test.labels.tolist() == [1, 0]
    assert splits.classes == ("0", "1")
    assert splits.validation is None


def test_a_relative_path_other_columns_and_plain_bytes(context: LoadContext, folder: Path) -> None:
    for name in ("train", "test"):
        images = [png(photo(value)) for value in (60, 70)]
        write(folder / f"{name}.parquet", images, [0, 1], columns=("picture", "kind"))
    splits = image_parquet(context, "pets", image_column="picture", label_column="kind")
    assert splits.train.images[:, 0, 0, 0].tolist() == [60, 70]


def test_the_validation_file_is_the_validation_split(context: LoadContext, folder: Path) -> None:
    write(folder / "validation.parquet", [struct(70)], [1])
    validation = image_parquet(context, folder).validation
    assert validation is not None
    assert validation.images[0, 0, 0, 0] == 70


def test_a_shape_resizes_and_converts(context: LoadContext, folder: Path) -> None:
    write(folder / "test.parquet", [struct(40, size=9)], [0])
    assert image_parquet(replace(context, shape=(1, 2, 3)), folder).test.shape == (1, 2, 3)


class TestClasses:
    def test_names_of_the_file_come_first(self, context: LoadContext, folder: Path) -> None:
        features = datasets.Features(
            {"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
        )
        for name in ("train", "test"):
            rows = {"img": [struct(10), struct(20)], "label": [0, 1]}
            table = datasets.Dataset.from_dict(rows, features=features)
            table.to_parquet(str(folder / f"{name}.parquet"))
        splits = image_parquet(context, folder, classes=["wrong", "names"])
        assert splits.classes == ("cat", "dog")
        assert splits.train.images[:, 0, 0, 0].tolist() == [10, 20]

    def test_names_given(self, context: LoadContext, folder: Path) -> None:
        splits = image_parquet(context, folder, classes=["cat", "dog", "cow"])
        assert splits.classes == ("cat", "dog", "cow")

    def test_any_integers(self, context: LoadContext, folder: Path) -> None:
        write(folder / "train.parquet", [struct(10), struct(20), struct(30)], [7, -2, 7])
        write(folder / "test.parquet", [struct(40)], [7])
        splits = image_parquet(context, folder)
        assert splits.classes == ("-2", "7")
        assert splits.train.labels.tolist() == [1, 0, 1]
        assert splits.test.labels.tolist() == [1]

    def test_strings(self, context: LoadContext, folder: Path) -> None:
        write(folder / "train.parquet", [struct(10), struct(20)], ["dog", "cat"])
        write(folder / "test.parquet", [struct(40)], ["dog"])
        assert image_parquet(context, folder).train.labels.tolist() == [1, 0]
        named = image_parquet(context, folder, classes=["dog", "cat"])
        assert named.train.labels.tolist() == [0, 1]


class TestErrors:
    def refused(self, context: LoadContext, folder: Path, message: str, **options: Any) -> None:
        with pytest.raises(DataError, match=message):
            image_parquet(context, folder, **options)
        assert not list(context.cache.glob("*.safetensors"))

    def test_a_missing_file(self, context: LoadContext, folder: Path) -> None:
        (folder / "test.parquet").unlink()
        self.refused(context, folder, "test.parquet is missing; wanted: .*/{train,test}.parquet")

    def test_a_missing_column(self, context: LoadContext, folder: Path) -> None:
        message = "train.parquet has no column image; it has: img, label"
        self.refused(context, folder, message, image_column="image")

    @pytest.mark.parametrize("keep", [0, 10, 200])
    def test_a_truncated_file(self, context: LoadContext, folder: Path, keep: int) -> None:
        path = folder / "test.parquet"
        path.write_bytes(path.read_bytes()[:keep])
        self.refused(context, folder, f"{path} is not a parquet file, or damaged")

    def test_damage_inside_a_file(
        self, context: LoadContext, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = folder / "train.parquet"
        content = bytearray(path.read_bytes())
        content[4:60] = bytes(56)  # the first page's header; the footer stays whole
        path.write_bytes(bytes(content))
        self.refused(context, folder, f"{path} is damaged: ")
        assert not capfd.readouterr().err  # one line, the error's, is enough

    def test_a_label_outside_of_the_names(self, context: LoadContext, folder: Path) -> None:
        write(folder / "test.parquet", [struct(40), struct(50)], [1, 5])
        message = r"test.parquet has label 5 in row 1 \(counted from 0\); allowed: 0, 1, 2"
        self.refused(context, folder, message, classes=["a", "b", "c"])

    def test_a_test_label_that_training_lacks(self, context: LoadContext, folder: Path) -> None:
        write(folder / "test.parquet", [struct(40)], [2])
        self.refused(context, folder, "test.parquet has label 2 in row 0 .* allowed: 0, 1$")

    def test_a_null_label(self, context: LoadContext, folder: Path) -> None:
        write(folder / "train.parquet", [struct(10), struct(20)], [0, None])
        self.refused(context, folder, "train.parquet has no label in row 1")

    @pytest.mark.parametrize("null", [None, {"bytes": None, "path": "elsewhere.png"}])
    def test_a_null_image(self, context: LoadContext, folder: Path, null: Any) -> None:
        write(folder / "test.parquet", [struct(40), null], [0, 1])
        self.refused(context, folder, "test.parquet has no img in row 1")

    def test_an_image_that_is_none(self, context: LoadContext, folder: Path) -> None:
        broken = {"bytes": struct(40)["bytes"][:50], "path": None}
        write(folder / "train.parquet", [struct(10), struct(20), broken], [0, 1, 0])
        self.refused(context, folder, r"train.parquet row 2 \(counted from 0\) is not an image, or")

    def test_sizes_that_differ(self, context: LoadContext, folder: Path) -> None:
        write(folder / "test.parquet", [struct(40), struct(50, size=5)], [0, 1])
        self.refused(context, folder, r"train.parquet row 0 .* is 4x4, .*test.parquet row 1 .* 5x5")

    def test_columns_of_other_types(self, context: LoadContext, folder: Path) -> None:
        write(folder / "train.parquet", [[1, 2], [3]], [0, 1])
        self.refused(context, folder, "train.parquet has .*list.* in column img; allowed: encoded")
        write(folder / "train.parquet", [struct(10)], [0.5])
        self.refused(context, folder, "train.parquet has double in column label; allowed: integers")

    def test_no_rows(self, context: LoadContext, folder: Path) -> None:
        empty = pq.read_table(folder / "train.parquet").slice(0, 0)
        pq.write_table(empty, folder / "train.parquet")
        self.refused(context, folder, "train.parquet has no rows")


def test_the_second_load_decodes_nothing_and_nothing_else_is_left(
    context: LoadContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = image_parquet(context, folder)
    assert {path.suffix for path in context.cache.iterdir()} == {".safetensors", ".lock"}
    monkeypatch.setattr("adapterlab.data.sources.parquet.decode", None)
    second = image_parquet(context, folder)
    assert torch.equal(first.train.images, second.train.images)
    assert second.classes == first.classes


def test_the_progress_bars_of_datasets_are_as_before(context: LoadContext, folder: Path) -> None:
    before = datasets.is_progress_bar_enabled()
    image_parquet(context, folder)
    assert datasets.is_progress_bar_enabled() == before
