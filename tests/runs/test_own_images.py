"""Bring-your-own images, end to end, over a base of another shape."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adapterlab.adapters import read_metadata
from adapterlab.base.errors import ConfigError, DataError
from adapterlab.runs.data import load_data
from adapterlab.runs.single import run
from lab import Outcome, tiny
from small_images import saved

pytestmark = pytest.mark.usefixtures("no_pictures")

CLASSES = ("blue (dark)", "red/orange", "größer")
"""Names that people use and MLflow does not take as they are."""


def pixels(label: int, seed: int, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """A noisy image whose brightness tells its class."""
    noise = np.random.default_rng(seed).integers(0, 40, (size, size, channels))
    return (noise + 90 * label).astype(np.uint8).squeeze()


def write_folder(root: Path, size: int = 12, channels: int = 3, classes: int = 3) -> Path:
    for split, count in (("train", 20), ("test", 6)):
        for label in range(classes):
            folder = root / split / CLASSES[label].replace("/", "-")
            folder.mkdir(parents=True)
            for index in range(count):
                image = pixels(label, 100 * label + index, size, channels)
                Image.fromarray(image).save(folder / f"{index}.png")
    return root


def write_parquet(root: Path, size: int = 12, channels: int = 3, classes: int = 3) -> Path:
    root.mkdir(parents=True)
    for split, count in (("train", 120), ("test", 30)):
        images = []
        for row in range(count):
            path = root / "image.png"
            Image.fromarray(pixels(row % classes, row, size, channels)).save(path)
            images.append({"bytes": path.read_bytes(), "path": None})
            path.unlink()
        table = pa.table({"img": images, "label": [row % classes for row in range(count)]})
        pq.write_table(table, root / f"{split}.parquet")
    return root


WRITERS = {"image_folder": write_folder, "image_parquet": write_parquet}


@pytest.mark.parametrize("kind", WRITERS)
def test_own_images_over_the_digits_become_like_the_digits(
    kind: str, tmp_path: Path, lab_root: Path
) -> None:
    """The base takes 1x8x8; RGB images of 12x12 are brought to that."""
    path = WRITERS[kind](tmp_path / "own")
    config = tiny(
        lab_root, f"dataset={kind}", f"dataset.loader.path={path}", "base.source=digits",
        "epochs=15", "optimizer.lr=0.05", "adapter=lora", "adapter.rank=2",
    )  # fmt: skip
    result = run(config)
    assert result.shape == (1, 8, 8)
    assert len(result.classes) == 3
    assert result.metrics["test/accuracy"] > 0.9
    assert result.metrics["source/accuracy_before"] > 0
    # Three classes are not ten: the head is new, and judged apart on the source task.
    assert result.metrics["params/head"] == 128 * 3 + 3
    assert "source/accuracy_after" in result.metrics
    assert read_metadata(result.folder / "adapter.safetensors")["format"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_own_images_from_scratch_keep_their_shape(
    kind: str, channels: int, tmp_path: Path, lab_root: Path
) -> None:
    path = WRITERS[kind](tmp_path / "own", size=5, channels=channels)
    result = run(
        tiny(
            lab_root,
            f"dataset={kind}",
            f"dataset.loader.path={path}",
            "base=scratch",
            "adapter=full",
            "dataset.crop=1",
            "dataset.flip=true",
        )
    )
    assert result.shape == (channels, 5, 5)
    assert result.metrics["params/total"] == channels * 25 * 128 + 128 + 128 * 3 + 3


def test_the_digits_over_an_rgb_base_become_rgb(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "cifar10", size=32, classes=10)
    result = run(
        tiny(tmp_path, "dataset=digits", "base.source=cifar10", f"data_dir={tmp_path / 'data'}")
    )
    assert result.shape == (3, 32, 32)
    assert result.metrics["params/total"] > 3 * 32 * 32 * 128
    assert "source/accuracy_before" in result.metrics


def test_a_shape_can_be_asked_for(tmp_path: Path, lab_root: Path) -> None:
    path = write_folder(tmp_path / "own")
    own = ["dataset=image_folder", f"dataset.loader.path={path}", "base=scratch"]
    assert run(tiny(lab_root, *own, "dataset.shape=[1,4,4]")).shape == (1, 4, 4)


@pytest.mark.parametrize("kind", WRITERS)
def test_images_of_several_sizes_are_brought_to_the_bases_shape(
    kind: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    path = WRITERS[kind](tmp_path / "own")
    if kind == "image_folder":
        odd = path / "train" / CLASSES[0] / "0.png"
        Image.fromarray(pixels(0, 0, 20, 3)[:15]).save(odd)
    else:
        table = pq.read_table(path / "test.parquet").to_pylist()
        Image.fromarray(pixels(0, 0, 20, 3)[:15]).save(path / "odd.png")
        table[0]["img"]["bytes"] = (path / "odd.png").read_bytes()
        pq.write_table(pa.Table.from_pylist(table), path / "test.parquet")
    own = [f"dataset={kind}", f"dataset.loader.path={path}", "tracking=none"]
    small = ["epochs=1", "base.epochs=1", "adapter=head", "hardware.threads=1"]
    outcome = run_cli(*own, *small, "base.source=digits")
    note = "images of 2 sizes, 12x12 to 15x20 (height x width), are brought to the model's"
    assert f"{note} [1, 8, 8]" in " ".join(outcome.out.split()), outcome
    refused = run_cli(*own, "base=scratch", "epochs=1").error
    assert "images differ in size: " in refused
    assert "set dataset.shape, for example dataset.shape=[3,32,32]" in refused


def test_images_of_several_sizes_are_brought_to_a_models_own_size(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "own")
    Image.fromarray(pixels(0, 0, 20, 3)[:15]).save(path / "test" / CLASSES[0] / "0.png")
    own = ["dataset=image_folder", f"dataset.loader.path={path}", "model=hf_image"]
    own += [f"model.name_or_path={saved('vit', tmp_path / 'vit')}", "base=pretrained"]
    for size, more in ((16, []), (8, ["model.image_size=8"])):
        read = load_data(tiny(tmp_path, *own, *more))
        assert read.shape == (3, size, size)
        assert f"are brought to the model's [3, {size}, {size}]" in read.target.notes[0]


def test_names_of_classes_can_be_given(tmp_path: Path, lab_root: Path) -> None:
    path = write_parquet(tmp_path / "own")
    own = ["dataset=image_parquet", f"dataset.loader.path={path}", "base=scratch", "adapter=full"]
    assert run(tiny(lab_root, *own)).classes == ("0", "1", "2")
    assert run(tiny(lab_root, *own, "dataset.classes=[a,b,c]")).classes == ("a", "b", "c")
    with pytest.raises(ConfigError, match=r"dataset\.classes names 2 classes"):
        run(tiny(lab_root, *own, "dataset.classes=[a,b]"))


def test_a_class_is_not_called_as_another_one_is(tmp_path: Path, lab_root: Path) -> None:
    path = write_folder(tmp_path / "own")
    names = sorted(folder.name for folder in (path / "train").iterdir())
    own = ["dataset=image_folder", f"dataset.loader.path={path}", "base=scratch", "adapter=full"]
    said = f"otherwise than the files: '{names[2]}' is 'other'"
    given = f"dataset.classes=['{names[0]}','{names[1]}',other]"
    assert any(said in note for note in run(tiny(lab_root, *own, given)).notes)
    shifted = f"dataset.classes=['{names[1]}',other,'{names[2]}']"
    with pytest.raises(ConfigError, match="is in another order than in the files of"):
        run(tiny(lab_root, *own, shifted))


def test_a_plan_reads_the_files_where_it_must(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    path = write_folder(tmp_path / "own", size=4)
    own = ["dataset=image_folder", f"dataset.loader.path={path}", "base=scratch", "plan=true"]
    outcome = run_cli(*own, "adapter=head")
    assert "387 of 6,659 parameters" in " ".join(outcome.out.replace("│", " ").split())


def test_class_names_and_folders_as_people_write_them_are_tracked(
    tmp_path: Path, lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    path = write_folder(tmp_path / "my [own] pictures")
    outcome = run_cli(
        "dataset=image_folder", f"dataset.loader.path='{path}'", "base=scratch", "epochs=2",
        "hardware.threads=1", "adapter=full", "dataset.mean=[0.5,0.4,0.3]",
        root=lab_root,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "MLflow run:" in outcome.out


def test_a_class_that_the_test_split_lacks_is_an_error(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "own")
    for file in (path / "test" / CLASSES[0]).iterdir():
        file.unlink()
    with pytest.raises(DataError, match="dark"):
        run(tiny(tmp_path, "dataset=image_folder", f"dataset.loader.path={path}", "base=scratch"))


def test_a_plain_color_in_each_class_is_learnt_through_the_whole_program(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    write_folder(tmp_path / "own")
    outcome = run_cli(
        "dataset=image_folder", "dataset.loader.path=own", f"data_dir={tmp_path}", "tracking=none",
        "base=scratch", "adapter=full", "epochs=20", "optimizer.lr=0.01", "hardware.threads=1",
    )  # fmt: skip
    assert "100.00%" in outcome.out, outcome.err
