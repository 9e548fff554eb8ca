import gzip
import hashlib
import pickle
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from image_files import idx_bytes, photo, png
from torchvision import datasets

from adapterlab.base.errors import DataError
from adapterlab.data.sources import LoadContext
from adapterlab.data.sources.download import download
from adapterlab.data.sources.torchvision_files import cifar10, fashion_mnist, mnist

WriteIdx = Callable[..., Path]


class TestIdx:
    def test_values_are_read_as_they_lie(self, context: LoadContext, write_idx: WriteIdx) -> None:
        write_idx("MNIST")
        splits = mnist(context)
        assert splits.train.shape == (1, 2, 3)
        assert splits.train.images[1, 0].tolist() == [[6, 7, 8], [9, 10, 11]]
        assert splits.test.labels.tolist() == [0, 1, 2, 3]
        assert splits.train.labels.dtype == torch.int64

    def test_unofficial_sizes_are_noted(self, context: LoadContext, write_idx: WriteIdx) -> None:
        write_idx("FashionMNIST", train=1200, test=4)
        splits = fashion_mnist(context)
        assert splits.notes == (
            "fashion_mnist here is 1,200 train / 4 test, not the official 60,000 / 10,000: "
            "figures are not comparable with published ones",
        )
        assert splits.classes[9] == "Ankle boot"

    def test_gz_files_do_as_well(self, context: LoadContext, write_idx: WriteIdx) -> None:
        raw = write_idx("MNIST")
        unpacked = mnist(context)
        for path in list(raw.iterdir()):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        assert torch.equal(mnist(context).train.images, unpacked.train.images)

    def test_folders_are_searched_in_order(
        self, context: LoadContext, write_idx: WriteIdx, tmp_path: Path
    ) -> None:
        write_idx("MNIST")
        searched = replace(context, search=(tmp_path / "nowhere", *context.search))
        assert len(mnist(searched).train) == 12

    def test_the_shape_of_the_context_is_obeyed(
        self, context: LoadContext, write_idx: WriteIdx
    ) -> None:
        write_idx("MNIST")
        assert mnist(replace(context, shape=(3, 4, 4))).train.shape == (3, 4, 4)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda content: content[:-1], "is truncated: .* 88 bytes, it has 87"),
            (lambda content: content + b"x", "is too long: .* 88 bytes, it has 89"),
            (lambda content: b"", "is no idx file .* starts with nothing"),
            (lambda content: b"<html>" + content, "is no idx file .* starts with 3c68746d"),
            (
                lambda content: idx_bytes(np.zeros((5, 2, 3), np.uint8)),
                "has 5 images but .* has 12",
            ),
            (lambda content: idx_bytes(np.zeros((0, 2, 3), np.uint8)), "has 0 images but"),
        ],
    )
    def test_a_damaged_image_file_is_named(
        self,
        context: LoadContext,
        write_idx: WriteIdx,
        damage: Callable[[bytes], bytes],
        message: str,
    ) -> None:
        path = write_idx("MNIST") / "train-images-idx3-ubyte"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match=f"{path} {message}"):
            mnist(context)

    def test_a_label_out_of_range_is_named(self, context: LoadContext, write_idx: WriteIdx) -> None:
        path = write_idx("MNIST") / "t10k-labels-idx1-ubyte"
        path.write_bytes(idx_bytes(np.array([0, 1, 12, 3], np.uint8)))
        with pytest.raises(DataError, match=f"{path} has label 12 in row 2; allowed: 0 to 9"):
            mnist(context)

    def test_a_damaged_gz_is_named(self, context: LoadContext, write_idx: WriteIdx) -> None:
        plain = write_idx("MNIST") / "train-labels-idx1-ubyte"
        packed = plain.with_name(f"{plain.name}.gz")
        packed.write_bytes(gzip.compress(plain.read_bytes())[:-9])
        plain.unlink()
        with pytest.raises(DataError, match=f"{packed} cannot be read"):
            mnist(context)


@pytest.mark.usefixtures("no_network")
class TestNothingHere:
    @pytest.mark.parametrize(
        ("loader", "wanted", "home"),
        [
            (mnist, "MNIST/raw/{train-images-idx3-ubyte,", "Yann LeCun's MNIST database"),
            (fashion_mnist, "FashionMNIST/raw/{train-", "github.com/zalandoresearch/fashion-mnist"),
            (cifar10, "cifar10/{train,test}.parquet", "cs.toronto.edu/~kriz/cifar.html"),
        ],
    )
    def test_the_error_says_what_where_and_from_where(
        self, context: LoadContext, loader: Callable[[LoadContext], object], wanted: str, home: str
    ) -> None:
        with pytest.raises(DataError) as caught:
            loader(context)
        text = str(caught.value)
        for part in (wanted, home, str(context.search[0]), str(context.download), "Name or serv"):
            assert part in text
        assert "\n" not in text

    def test_an_incomplete_set_is_not_read(self, context: LoadContext, write_idx: WriteIdx) -> None:
        (write_idx("MNIST") / "t10k-labels-idx1-ubyte").unlink()
        with pytest.raises(DataError, match="mnist is not here"):
            mnist(context)


class TestDownload:
    def test_files_arrive_and_are_not_fetched_again(self, tmp_path: Path) -> None:
        calls = []

        def fetch(root: Path) -> None:
            calls.append(socket.getdefaulttimeout())
            (root / "set" / "raw").mkdir(parents=True)
            (root / "set" / "raw" / "a").write_text("whole")

        for _ in range(2):
            folder = download(fetch, tmp_path, "set/raw", ["a"])
        assert (folder / "a").read_text() == "whole"
        assert calls == [10.0]
        assert socket.getdefaulttimeout() is None

    def test_an_interrupted_download_leaves_nothing(self, tmp_path: Path) -> None:
        def fetch(root: Path) -> None:
            (root / "set").mkdir()
            (root / "set" / "a").write_text("half")
            raise RuntimeError("Error downloading a:\nFile not found or corrupted.")

        with pytest.raises(DataError, match=r"download failed: File not found or corrupted\."):
            download(fetch, tmp_path, "set", ["a"])
        assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]


@pytest.fixture
def cifar_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six batches of three images each, published under their own checksums."""
    folder = tmp_path / "here" / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, value: int) -> list[str]:
        data = np.full((3, 3072), value, dtype=np.uint8)
        data[:, 1024] = 200  # first pixel of the green plane
        content = pickle.dumps({"data": data, "labels": [value, 1, 2]})
        (folder / name).write_bytes(content)
        return [name, hashlib.md5(content).hexdigest()]

    train = [write(f"data_batch_{i}", i) for i in range(1, 6)]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [write("test_batch", 9)])
    return folder


class TestCifar10:
    def test_batches_are_read_in_order_as_planes(
        self, context: LoadContext, cifar_folder: Path
    ) -> None:
        splits = cifar10(context)
        assert (len(splits.train), len(splits.test)) == (15, 3)
        assert splits.train.shape == (3, 32, 32)
        assert splits.train.labels[::3].tolist() == [1, 2, 3, 4, 5]
        assert splits.test.images[0, :, 0, 0].tolist() == [9, 200, 9]
        assert splits.classes[:2] == ("airplane", "automobile")
        assert splits.notes == ()

    def test_a_batch_with_another_md5_is_named(
        self, context: LoadContext, cifar_folder: Path
    ) -> None:
        path = cifar_folder / "data_batch_3"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DataError, match=f"{path} is corrupt: its md5 is"):
            cifar10(context)

    def test_the_parquet_of_the_hub_does_as_well(self, context: LoadContext) -> None:
        folder = context.search[0] / "cifar10"
        folder.mkdir(parents=True)
        for name, labels in (("train", [0, 9]), ("test", [3])):
            images = [{"bytes": png(photo(label, 32, 32)), "path": None} for label in labels]
            pq.write_table(pa.table({"img": images, "label": labels}), folder / f"{name}.parquet")
        splits = cifar10(replace(context, shape=(3, 8, 8)))
        assert splits.classes[9] == "truck"
        assert splits.train.images[1, :, 0, 0].tolist() == [9, 4, 246]
        assert splits.train.shape == (3, 8, 8)
        assert "cannot be checked" in splits.notes[0]
        assert "not the official 50,000 / 10,000" in splits.notes[1]
