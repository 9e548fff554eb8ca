"""A finished run is whole or made whole: its files are looked at before it counts as finished."""

import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import CheckpointError
from adapterlab.runs import single
from adapterlab.runs.data import load_data
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.integrity import damage, require_adapter
from adapterlab.runs.state import finished_run
from adapterlab.tracking.stores.uris import default_uri
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = ("base=scratch", "study=whole", "resume=true", "limit=64", "epochs=1")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "cut short": cut_short,
    "zeros": zeros,
}


def content(folder: Path) -> dict[str, bytes]:
    skipped = (".lock", "result.json", "mlflow_run_id")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in skipped
    }


def figures(result: RunResult) -> dict[str, float]:
    return {k: v for k, v in result.metrics.items() if not k.startswith("cost/")}


@pytest.mark.parametrize(
    ("name", "damage_done"),
    [
        ("adapter.safetensors", "deleted"),
        ("adapter.safetensors", "zeros"),
        ("predictions.parquet", "cut short"),
        ("result.json", "cut short"),
        ("mistakes/per_class.csv", "deleted"),
    ],
)
def test_what_is_lost_is_made_again(
    name: str, damage_done: str, lab_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(lab_root, *OPTIONS)
    first = single.run(config)
    before = content(first.folder)
    DAMAGES[damage_done](first.folder / name)
    assert finished_run(config, load_data(config)) is None
    with caplog.at_level(logging.WARNING):
        again = single.run(config)
    assert name in caplog.text
    assert "made again" in caplog.text
    assert figures(again) == figures(first)
    assert content(first.folder) == before
    assert finished_run(config, load_data(config)) == again


def test_what_is_lost_is_brought_back_from_mlflow(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(lab_root, *OPTIONS, "tracking=mlflow", "study=kept")
    first = single.run(config)
    before = content(first.folder)
    (first.folder / "adapter.safetensors").unlink()
    zeros(first.folder / "predictions.parquet")
    shutil.rmtree(first.folder / "mistakes")
    shutil.rmtree(first.folder / "peft")
    monkeypatch.setattr(single, "assemble", lambda *_, **__: pytest.fail("it was repeated"))
    with caplog.at_level(logging.WARNING):
        assert single.run(config) == first
    assert "brought back from MLflow" in caplog.text
    assert content(first.folder) == before


def test_a_copy_that_is_not_as_written_is_not_brought_back(lab_root: Path) -> None:
    config = tiny(lab_root, *OPTIONS, "tracking=mlflow", "study=spoilt")
    first = single.run(config)
    before = content(first.folder)
    artifacts = lab_root / "mlruns" / "artifacts" / str(first.run_id) / "artifacts"
    zeros(artifacts / "adapter" / "adapter.safetensors")
    (first.folder / "adapter.safetensors").unlink()
    again = single.run(config)
    assert figures(again) == figures(first)
    assert again.run_id == first.run_id
    assert content(first.folder) == before
    assert (artifacts / "adapter" / "adapter.safetensors").read_bytes() == before[
        "adapter.safetensors"
    ]
    client = MlflowClient(default_uri(lab_root / "mlruns"))
    assert client.get_run(str(first.run_id)).info.status == "FINISHED"


def test_a_base_that_is_not_as_written_is_trained_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One number of its weights is another: the file can be read, and every run would start off."""
    config = tiny(tmp_path, "study=based", "resume=true", "limit=64", "epochs=1")
    first = single.run(config)
    (base,) = (tmp_path / "mlruns" / "runs" / "bases").iterdir()
    weights = base / "adapter.safetensors"
    written = weights.read_bytes()
    changed = bytearray(written)
    changed[-2] ^= 64
    weights.write_bytes(changed)
    assert finished_run(config, load_data(config)) == first  # it is no less finished for that
    with caplog.at_level(logging.WARNING):
        single.run(tiny(tmp_path, "study=based", "resume=true", "limit=64", "epochs=1", "seed=1"))
    assert f"{base.name} had finished, but adapter.safetensors is missing" in caplog.text
    assert weights.read_bytes() == written


def test_checksums_are_for_everyone(lab_root: Path) -> None:
    folder = single.run(tiny(lab_root, *OPTIONS, "study=sums")).folder
    command: list[Any] = ["sha256sum", "--check", "--quiet", "files.sha256"]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    zeros(folder / "adapter.safetensors")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1
    with pytest.raises(CheckpointError, match=r"adapter\.safetensors is missing or not as it was"):
        require_adapter(RunFolder(folder))


def test_a_run_of_an_older_version_is_read_instead(lab_root: Path) -> None:
    folder = RunFolder(single.run(tiny(lab_root, *OPTIONS, "study=older")).folder)
    (folder.path / "files.sha256").unlink()
    assert damage(folder) == []
    cut_short(folder.predictions)
    folder.adapter.unlink()
    assert damage(folder) == ["adapter.safetensors", "predictions.parquet"]
