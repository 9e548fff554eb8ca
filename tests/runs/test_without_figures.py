"""figures=never: a run without pictures is the same run, and leaves what they are drawn from."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.identity import arm_hash, config_hash
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.single import run
from adapterlab.tracking.stores.uris import default_uri
from lab import tiny

OWN = ("base=scratch", "study=pictures")


def pictures(result: RunResult) -> list[str]:
    return sorted(str(path.relative_to(result.folder)) for path in result.folder.rglob("*.png"))


def test_a_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
    drawn = run(tiny(tmp_path / "drawn", *OWN))
    assert len(pictures(drawn)) == 4
    monkeypatch.setattr("adapterlab.drawing.pictures.paint", lambda *_: pytest.fail("it is drawn"))
    config = tiny(tmp_path, *OWN, "figures=never", "tracking=mlflow", "resume=true")
    bare = run(config)
    assert pictures(bare) == []
    assert bare.history == drawn.history
    name = "predictions.parquet"
    assert pq.read_table(bare.folder / name).equals(pq.read_table(drawn.folder / name))
    page, with_pictures = ((one.folder / "mistakes/mistakes.md") for one in (bare, drawn))
    assert "## Surest mistakes" in page.read_text()
    assert "## Pictures" in with_pictures.read_text()
    assert "## Pictures" not in page.read_text()
    client = MlflowClient(default_uri(tmp_path / "mlruns"))
    kept = {file.path for file in client.list_artifacts(bare.run_id)}
    assert "mistakes" in kept
    assert "figures" not in kept
    assert run(config) == bare, "it has all that it wrote"


def test_lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterlab.drawing.pictures.paint", lambda *_: pytest.fail("it is drawn"))
    monkeypatch.setattr(
        "adapterlab.runs.packs.pack.get_ready", lambda: pytest.fail("a helper is there")
    )
    lanes = [tiny(tmp_path, *OWN, "figures=never", f"seed={seed}") for seed in range(4)]
    for lane in run_pack(lanes, core_is_free=True):
        assert isinstance(lane, RunResult), lane
        assert pictures(lane) == []


def test_it_is_the_same_run(tmp_path: Path) -> None:
    always, never = tiny(tmp_path), tiny(tmp_path, "figures=never")
    assert config_hash(always) == config_hash(never)
    assert arm_hash(always) == arm_hash(never)
