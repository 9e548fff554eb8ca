"""When a run counts as the same: by what it computes and on which data, not by names and paths."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from adapterlab.config.schema import Config, TrainedBase
from adapterlab.runs.base_weights import base_run
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.identity import config_hash
from adapterlab.runs.single import run
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.training.fit import fit
from lab import TINY, Outcome, compose, tiny, write_idx

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the data set of every training."""
    titles: list[str] = []

    def noted(config: Config, *arguments: object, **options: object) -> object:
        titles.append(config.dataset.name)
        return fit(config, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("adapterlab.runs.single.fit", noted)
    return titles


def write_folder(root: Path, brightness: int) -> None:
    for split in ("train", "test"):
        for label, name in enumerate(("dark", "light")):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for index in range(12):
                image = np.full((4, 4), brightness + 100 * label + index, np.uint8)
                Image.fromarray(image).save(root / split / name / f"{index}.png")


def test_other_pictures_in_the_same_folder_are_another_run(
    tmp_path: Path, trained: list[str]
) -> None:
    path = tmp_path / "own"
    write_folder(path, 0)
    config = tiny(
        tmp_path, "dataset=image_folder", f"dataset.loader.path={path}", "base=scratch",
        "resume=true", "batch_size=8",
    )  # fmt: skip
    first = run(config)
    assert run(config) == first
    assert len(trained) == 1
    write_folder(path, 50)
    second = run(config)
    assert len(trained) == 2
    assert second.folder != first.folder
    assert second.data_hash != first.data_hash
    assert run(config) == second
    write_folder(path, 0)
    assert run(config) == first
    assert len(trained) == 2


def test_a_base_is_trained_again_when_its_data_have_changed(
    tmp_path: Path, trained: list[str]
) -> None:
    data = tmp_path / "data"
    write_idx(data / "MNIST" / "raw", 0)
    write_idx(data / "FashionMNIST" / "raw", 1)
    config = tiny(tmp_path, "dataset=fashion_mnist", f"data_dir={data}", "resume=true")
    run(config)
    run(config)
    run(replace(config, seed=1, init_seed=1, order_seed=1))
    assert trained == ["mnist", "fashion_mnist", "fashion_mnist"]
    write_idx(data / "MNIST" / "raw", 2)
    run(config)
    assert trained[3:] == ["mnist", "fashion_mnist"]


def test_a_checkpoint_is_what_is_in_it(tmp_path: Path) -> None:
    def of(path: Path) -> str:
        return config_hash(compose(tmp_path, "base=checkpoint", f"base.path={path}"))

    first, second = tmp_path / "a.pt", tmp_path / "b.pt"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    before = of(first)
    assert of(second) == before
    second.write_bytes(b"other weights")
    assert of(second) != before


def test_a_relative_checkpoint_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose(tmp_path, "base=checkpoint", "base.path=weights.pt")
    assert config.base.path == str(tmp_path / "weights.pt")  # type: ignore[union-attr]


def test_automatic_precision_is_the_one_it_comes_to(tmp_path: Path) -> None:
    automatic = compose(tmp_path, "hardware=cpu")
    same = compose(tmp_path, "hardware=cpu", "hardware.precision=32-true")
    other = compose(tmp_path, "hardware=cpu", "hardware.precision=64-true")
    assert config_hash(automatic) == config_hash(same) != config_hash(other)


@pytest.mark.parametrize(("dataset", "held_out"), [("digits_rotated", 7), ("fashion_mnist", 0)])
def test_base_and_target_from_the_same_files_hold_out_the_same_rows(
    dataset: str, held_out: int, tmp_path: Path
) -> None:
    config = compose(tmp_path, f"dataset={dataset}", "dataset.validation_seed=7")
    assert isinstance(config.base, TrainedBase)
    assert config.base.dataset is not None
    assert config.base.dataset.validation_seed == held_out


def test_a_finished_run_that_was_not_tracked_can_be_logged_later(
    tmp_path: Path, trained: list[str]
) -> None:
    options = ("base=scratch", "study=late", "resume=true")
    quiet = run(tiny(tmp_path, *options))
    assert quiet.run_id is None
    logged = run(tiny(tmp_path, *options, "tracking=mlflow"))
    assert len(trained) == 1
    assert logged.metrics == quiet.metrics
    client = MlflowClient(default_uri(tmp_path / "mlruns"))
    saved = client.get_run(logged.run_id)
    assert saved.info.status == "FINISHED"
    assert saved.data.metrics.items() >= quiet.metrics.items()
    steps = [point.step for point in client.get_metric_history(logged.run_id, "val/loss")]
    assert steps == [1, 2]
    assert run(tiny(tmp_path, *options, "tracking=mlflow")) == logged


def test_a_base_whose_folder_is_gone_comes_back_from_mlflow(
    tmp_path: Path, trained: list[str], run_cli: Callable[..., Outcome]
) -> None:
    from adapterlab.app.cli import evaluate

    config = tiny(tmp_path, "tracking=mlflow", "adapter=lora")
    result = run(config)
    base = base_run(config)
    assert base is not None
    before = RunFolder.of(base).adapter.read_bytes()
    shutil.rmtree(tmp_path / "mlruns" / "runs")
    trained.clear()
    outcome = run_cli(
        f"run={result.run_id}", "hardware=cpu", "hardware.threads=1", program=evaluate
    )
    assert "equal to the logged metrics, to the last digit" in outcome.out, outcome
    assert trained == []
    assert RunFolder.of(base).adapter.read_bytes() == before


def test_a_sweep_goes_on_after_a_run_that_diverged(run_cli: Callable[..., Outcome]) -> None:
    arguments = [*TINY, "base=scratch", "adapter=full", "optimizer=sgd"]
    kept = [a for a in arguments if not a.startswith(("optimizer.lr", "base.epochs"))]
    outcome = run_cli("--multirun", *kept, "optimizer.lr=1e30,0.01")
    assert outcome.code == 1
    assert "failed: " in outcome.err
    assert "optimizer.lr=1e+30" in outcome.err or "optimizer.lr=1e30" in outcome.err
    assert outcome.out.count("on the test split") == 1


@pytest.mark.parametrize("name", ["bases", "single"])
def test_names_of_studies_that_are_taken(name: str, run_cli: Callable[..., Outcome]) -> None:
    assert f"study={name} is taken" in run_cli(f"study={name}").error
