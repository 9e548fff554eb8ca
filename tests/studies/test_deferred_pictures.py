"""figures=report: a run's pictures are drawn with the report, and are those it would have drawn."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from adapterlab.app import cli
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.integrity import damage, finished_whole
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.single import run
from adapterlab.studies.deferred_pictures import draw_deferred
from adapterlab.tracking.stores.uris import default_uri
from lab import TINY, Outcome, tiny

OWN = ("base=scratch", "study=late", "limit=40")


def files(folder: Path) -> dict[str, bytes]:
    found = [*folder.glob("figures/*"), *folder.glob("mistakes/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(found)}


def test_they_are_those_that_the_run_would_have_drawn(tmp_path: Path) -> None:
    always = run(tiny(tmp_path / "always", *OWN))
    bare = run(tiny(tmp_path, *OWN, "figures=report", "tracking=mlflow"))
    assert not [name for name in files(bare.folder) if name.endswith("png")]
    drawn = draw_deferred(tmp_path, "late", None)
    assert (drawn.runs, drawn.left) == ([bare.folder], {})
    assert files(bare.folder) == files(always.folder)
    client = MlflowClient(default_uri(tmp_path / "mlruns"))
    there = {f.path for where in ("figures", "mistakes") for f in
             client.list_artifacts(bare.run_id, where)}  # fmt: skip
    assert there == set(files(always.folder))
    assert finished_whole(RunFolder(bare.folder)) == bare
    assert draw_deferred(tmp_path, "late", None).lines == []


def test_of_lanes_and_of_those_alone_that_ask_for_it(tmp_path: Path) -> None:
    late = [tiny(tmp_path, *OWN, "figures=report", f"seed={seed}") for seed in (0, 1)]
    never = tiny(tmp_path, *OWN, "figures=never", "seed=2")
    lanes = [lane for lane in run_pack([*late, never]) if isinstance(lane, RunResult)]
    assert len(lanes) == 3
    (lanes[0].folder / "predictions.parquet").write_bytes(b"cut")
    drawn = draw_deferred(tmp_path, "late", None)
    assert drawn.runs == [lanes[1].folder]
    assert list(drawn.left) == [lanes[0].folder]
    (_, said) = drawn.lines
    assert "predictions.parquet is not as it was written; resume=true" in said
    assert not damage(RunFolder(lanes[1].folder))
    assert not (lanes[2].folder / "figures").exists()


def test_other_data_have_other_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tiny(tmp_path, *OWN, "figures=report"))
    monkeypatch.setattr("adapterlab.runs.data.RunData.hash", "another")
    (said,) = draw_deferred(tmp_path, "late", None).lines
    assert "pictures of 1 run were not drawn" in said
    assert "the data have changed since this run was trained" in said


OF_TWO = tuple(option for option in TINY if not option.startswith(("base", "limit", "tracking")))
SWEEP_OF_TWO = (
    *("-m", "hydra/launcher=packed", "hydra.launcher.processes=1", "report=false"),
    *("dataset=digits_rotated", "base=scratch", "limit=40", "seed=0,1", "resume=true", *OF_TWO),
)


def test_those_of_a_sweep_come_with_its_report(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    swept = run_cli(*SWEEP_OF_TWO, "study=swept", root=lab_root)
    assert swept.code == 0, swept
    (hint,) = (line for line in swept.out.splitlines() if line.startswith("pictures of 2 runs:"))
    assert hint.endswith("python scripts/report.py study=swept")
    assert not list((lab_root / "mlruns" / "runs" / "swept").glob("*/figures"))
    outcome = run_cli("study=swept", program=cli.report, root=lab_root)
    assert outcome.code == 0, outcome
    assert "pictures of 2 runs: figures/ and mistakes/ of" in outcome.out
    assert "pictures of" not in run_cli(*SWEEP_OF_TWO, "study=swept", root=lab_root).out


def test_those_of_a_sweep_are_drawn_at_once_where_it_is_asked_for(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    swept = run_cli(*SWEEP_OF_TWO, "study=at-once", "figures=always", root=lab_root)
    assert swept.code == 0, swept
    assert "pictures of" not in swept.out
    assert len(list((lab_root / "mlruns" / "runs" / "at-once").glob("*/figures/*.png"))) == 4
