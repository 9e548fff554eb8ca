"""Whole runs of pretrained image classifiers: alone, in a pack, resumed, and taken elsewhere."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import AutoImageProcessor, AutoModelForImageClassification

from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config
from adapterlab.data.pixels import Pixels
from adapterlab.runs.check import check
from adapterlab.runs.data import load_data
from adapterlab.runs.export.merged import Request, export_saved
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.preprocessing import ImageInputs, make_inputs
from adapterlab.runs.single import run
from lab import ONE_THREAD, tiny
from small_images import SIDE, classifier, saved

pytestmark = pytest.mark.usefixtures("no_pictures")

LORA = ("adapter=lora", "adapter.targets=[conv]", "adapter.layers=last 1")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: saved(name, tmp_path_factory.mktemp(name)) for name in ("resnet", "vit")}


def config(root: Path, folder: Path, *more: str) -> Config:
    chosen = ("dataset=digits_rotated", "model=hf_image", f"model.name_or_path={folder}")
    return tiny(root, *chosen, "base=scratch", "base=pretrained", *more)


def logits(result: RunResult) -> np.ndarray:
    table = pq.read_table(result.folder / "predictions.parquet").to_pydict()
    return np.array(table["logits"])


def test_a_folder_for_transformers_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    asked = config(tmp_path, folders["resnet"], *LORA)
    trained = run(asked)
    assert any(f"resized to the model's {SIDE}x{SIDE} pixels" in note for note in trained.notes)
    to = tmp_path / "merged"
    export_saved(
        Request(
            run=str(trained.folder),
            to=str(to),
            overwrite=False,
            examples=20,
            tolerance=1e-4,
            tracking_uri=None,
            root=str(tmp_path),
            data_dir=None,
            hardware=ONE_THREAD,
        )
    )
    model = AutoModelForImageClassification.from_pretrained(to).eval()
    images = load_data(asked).target.test.images.expand(-1, 3, -1, -1)
    pixels = AutoImageProcessor.from_pretrained(to)(images=list(images), return_tensors="pt")
    with torch.no_grad():
        found = model(**pixels).logits.numpy()
    run_logits = logits(trained)
    # The run's own test split is a sample of these.
    near = np.abs(found[:, None] - run_logits).max(-1).min(0)
    assert near.max() < 1e-4
    assert model.config.id2label[3] == "3"


def test_packs_and_prefixes_change_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    def configs(root: str, *more: str) -> list[Config]:
        of_lanes = ("hardware.precision=64-true", *LORA, *more)
        return [
            config(tmp_path / root, folders["resnet"], *of_lanes, f"adapter.rank={rank}")
            for rank in (1, 3)
        ]

    packed = run_pack(configs("packed"))
    for lane, alone in zip(packed, configs("alone", "hardware.frozen_prefix=never"), strict=True):
        assert isinstance(lane, RunResult), lane
        np.testing.assert_allclose(logits(lane), logits(run(alone)), rtol=1e-8, atol=1e-8)


def test_a_run_that_stopped_goes_on_under_augmentation(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    more = ("adapter=head", "dataset.augment=[trivial]", "epochs=2")
    whole = run(config(tmp_path / "whole", folders["vit"], *more))
    again = config(tmp_path / "whole", folders["vit"], *more, "resume=true")
    assert run(again).metrics == whole.metrics
    other = run(config(tmp_path / "other", folders["vit"], *more))
    np.testing.assert_array_equal(logits(other), logits(whole))
    plain = run(config(tmp_path / "plain", folders["vit"], *more[:1], *more[2:]))
    assert not np.array_equal(logits(plain), logits(whole))


@pytest.mark.parametrize(("size", "shape"), [((SIDE, SIDE), (3, 28, 20)), (None, (3, 8, 8))])
def test_images_come_from_their_own_size_or_the_bases(
    size: tuple[int, int] | None, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    """A base that was trained on smaller images loses nothing where the model says a size."""
    model = classifier("resnet")
    model.pixels = Pixels(size=size)
    read: Any = SimpleNamespace(shape=(1, 28, 20))
    asked = config(tmp_path, tmp_path)
    assert make_inputs(asked, read, (3, 8, 8), model) == ImageInputs(shape, model.pixels)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("model.image_size=4",), "model.image_size=4: the model does not take it"),
        (("adapter=lora", "adapter.targets=[querry]"), "'querry' matches no layer; short names: a"),
        (("adapter=last_layers", "adapter.n=3"), "adapter.n=3 is more than the 2 layers"),
    ],
)
def test_what_a_plan_refuses(
    more: tuple[str, ...], said: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        check(config(tmp_path, folders["vit"], *more))
    assert said in str(refused.value)
