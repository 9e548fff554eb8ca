"""A base that another machine has trained: brought from MLflow, if it is that base."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.config.schema import Config
from adapterlab.runs.base_weights import base_run
from adapterlab.runs.data import RunData, load_data
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.homes import homes
from adapterlab.runs.single import run
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def shared(tmp_path: Path) -> dict[str, str]:
    """A store that two machines reach, each with a root of its own."""
    return {
        "uri": f"sqlite:///{tmp_path / 'shared.db'}",
        "artifacts": str(tmp_path / "artifacts"),
    }


def base_of(root: Path, shared: dict[str, str], *options: str) -> tuple[Config, RunData]:
    config = tiny(root, "figures=never", *options)
    base = base_run(replace(config, tracking=replace(config.tracking, enabled=True, **shared)))
    read = load_data(config).of_source
    assert base is not None
    assert read is not None
    return base, read


def bases(shared: dict[str, str]) -> list[Any]:
    client = MlflowClient(shared["uri"])
    experiment = client.get_experiment_by_name("adapterlab")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.kind = 'base'"))


def adapter_of(result: RunResult) -> bytes:
    return RunFolder(result.folder).adapter.read_bytes()


def test_it_is_trained_once_for_all(
    shared: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = run(*base_of(tmp_path / "a", shared))
    with caplog.at_level(logging.INFO, "adapterlab"):
        brought = run(*base_of(tmp_path / "b", shared))
    assert "brought from MLflow" in caplog.text
    assert brought.folder.is_relative_to(tmp_path / "b")
    assert brought.run_id == trained.run_id
    assert adapter_of(brought) == adapter_of(trained)
    again = run(*base_of(tmp_path / "b", shared))
    assert again == brought
    assert len(bases(shared)) == 1
    other = run(*base_of(tmp_path / "b", shared, "base.seed=7"))
    assert other.run_id != trained.run_id
    assert len(bases(shared)) == 2


@pytest.mark.parametrize("what", ["adapter", "config", "hash", "unfinished", "data"])
def test_another_one_is_not_taken(
    what: str,
    shared: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(*base_of(tmp_path / "a", shared))
    (known,), client = bases(shared), MlflowClient(shared["uri"])
    run_id = known.info.run_id
    there = Path(shared["artifacts"]) / run_id / "artifacts"
    config, read = base_of(tmp_path / "b", shared)
    if what == "adapter":
        file = there / "adapter" / "adapter.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    elif what == "config":
        file = there / "config.yaml"
        file.write_text(file.read_text().replace("epochs: 2", "epochs: 3"))
    elif what == "hash":
        client.delete_tag(run_id, "adapter_sha256")
    elif what == "unfinished":
        client.update_run(run_id, status="RUNNING")
    else:
        monkeypatch.setitem(read.__dict__, "hash", "0123456789ab")
    with caplog.at_level(logging.INFO, "adapterlab"):
        result = run(config, read)
    assert "brought from MLflow" not in caplog.text
    assert ("is not taken from MLflow" in caplog.text) == (what in ("adapter", "config"))
    if what != "unfinished":  # which is gone on with
        assert result.run_id != run_id
        assert len(bases(shared)) == 2
    assert not list(homes(config)[0].path.glob(".brought-*"))


def test_without_a_store_none_is_made(tmp_path: Path) -> None:
    config, read = base_of(tmp_path, {})
    config = replace(config, tracking=replace(config.tracking, enabled=False))
    run(config, read)
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()
