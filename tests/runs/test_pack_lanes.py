"""Each lane has its own end: divergence, early stopping, interruption and resumption."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.adapters import AdaptedModel
from adapterlab.base.errors import AdapterLabError
from adapterlab.base.full_disk import FullDiskError
from adapterlab.config.schema import Config
from adapterlab.runs import lifecycle, single
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.packs import pack
from adapterlab.runs.packs.pack import run_pack
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.training.packed.lane import LaneProgress, LaneTask, lane_checkpoint
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

TRACKED = ("tracking=mlflow", "hardware.precision=64-true", "epochs=6", "limit=256")


def lanes(root: Path, study: str, *each: str, options: Sequence[str] = ()) -> list[Config]:
    fixed = [f"study={study}", *TRACKED, "base=trained", *options]
    return [tiny(root, *fixed, *one.split()) for one in each]


def children(root: Path, study: str) -> list[Any]:
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    found = client.search_runs([experiment], f"tags.study = '{study}' and tags.kind = 'run'")
    return list(found)


def results(outcomes: Sequence[pack.Outcome]) -> list[RunResult]:
    assert all(isinstance(outcome, RunResult) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, RunResult)]


def test_a_lane_that_diverges_leaves_the_others_alone(lab_root: Path) -> None:
    configs = lanes(
        lab_root, "diverged-lane", "seed=0", "seed=1 optimizer.lr=1e300", "seed=2",
        options=["adapter=full", "optimizer=sgd", "optimizer.lr=0.1"],
    )  # fmt: skip
    alone = single.run(replace(configs[0], study="diverged-alone"))
    first, failed, last = run_pack(configs)
    assert isinstance(failed, AdapterLabError)
    assert str(failed).startswith(
        "train/loss is nan in epoch 1; try a lower optimizer.lr than 1e+300"
    )
    status = {run.data.tags["seed"]: run.info.status for run in children(lab_root, "diverged-lane")}
    assert status == {"0": "FINISHED", "1": "FAILED", "2": "FINISHED"}
    (run,) = (r for r in children(lab_root, "diverged-lane") if r.data.tags["seed"] == "1")
    assert run.data.tags["error"].startswith("TrainingDivergedError: train/loss is nan")
    for one in results([first, last]):
        assert len(one.history) == 6
    assert results([first])[0].history[6] == pytest.approx(alone.history[6], rel=1e-10)


def test_early_stopping_is_each_lanes_own(lab_root: Path) -> None:
    """A rate that never learns stops after its patience; the other trains on, as it does alone."""
    configs = lanes(
        lab_root, "stopping",
        "optimizer.lr=1e-12", "optimizer.lr=0.02", "optimizer.lr=1e-12 seed=1",
        options=["early_stopping=2", "optimizer.weight_decay=0"],
    )  # fmt: skip
    stopped, trained, other = results(run_pack(configs))
    assert sorted(stopped.history) == sorted(other.history) == [1, 2, 3]
    assert stopped.metrics["best/epoch"] == 1
    assert len(trained.history) == 6
    for config, lane in zip(configs, (stopped, trained, other), strict=True):
        alone = single.run(replace(config, study="stopping-alone"))
        assert lane.history.keys() == alone.history.keys()
        assert lane.metrics["best/epoch"] == alone.metrics["best/epoch"]
        assert lane.metrics["test/nll"] == pytest.approx(alone.metrics["test/nll"], rel=1e-10)


class StopHere(BaseException):
    """What no handler takes for an error of a run, like kill -9 from the inside."""


def interrupted(configs: Sequence[Config], after: float) -> None:
    """Carry out a pack until so many runs' worth of steps are done."""
    moved = [0.0]

    def stop(runs: float) -> None:
        moved[0] += runs
        if moved[0] >= after:
            raise StopHere

    with pytest.raises(StopHere):
        run_pack(configs, on_step=stop)


EACH = ("adapter.rank=1", "adapter.rank=4 seed=1", "adapter.rank=2 adapter.dropout=0.3 seed=2")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "plateau"])
def test_a_pack_goes_on_where_it_stopped(lab_root: Path, optimizer: str) -> None:
    options = {
        "adamw": ["optimizer.clip_norm=0.5", "optimizer.schedule=cosine"],
        "sgd": ["optimizer=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true"],
        "plateau": ["optimizer.schedule=plateau", "optimizer.plateau_patience=0"],
    }[optimizer]
    study = f"goes-on-{optimizer}"
    whole = results(run_pack(lanes(lab_root, f"{study}-whole", *EACH, options=options)))
    configs = lanes(lab_root, study, *EACH, options=[*options, "resume=true"])
    interrupted(configs, after=3 * 3.5 / 6)
    assert {run.info.status for run in children(lab_root, study)} == {"FAILED"}
    for config in configs:
        assert lane_checkpoint(RunFolder.of(config).checkpoints).is_file()
    # One lane in other company, one alone, and the rest: the law holds for all of them.
    (one,) = results(run_pack(configs[1:2]))
    two = single.run(configs[0])
    (three,) = results(run_pack(configs[2:]))
    for expected, resumed in zip(whole, (two, one, three), strict=True):
        assert resumed.history.keys() == expected.history.keys()
        for epoch in expected.history:
            assert resumed.history[epoch] == pytest.approx(expected.history[epoch], rel=1e-10)
        assert resumed.metrics["test/nll"] == pytest.approx(expected.metrics["test/nll"], rel=1e-10)
        assert "cost/lane_seconds" not in resumed.metrics
    found = children(lab_root, study)
    assert len(found) == 3
    assert {run.info.status for run in found} == {"FINISHED"}
    again = results(run_pack(configs))
    assert [run.run_id for run in again] == [run.run_id for run in (two, one, three)]
    assert len(children(lab_root, study)) == 3


def test_lanes_that_have_come_unequally_far(lab_root: Path) -> None:
    whole = results(run_pack(lanes(lab_root, "unequal-whole", *EACH)))
    configs = lanes(lab_root, "unequal", *EACH, options=["resume=true"])
    interrupted(configs[:2], after=2 * 2.5 / 6)
    interrupted(configs[1:], after=2 * 2.5 / 6)
    for expected, resumed in zip(whole, results(run_pack(configs)), strict=True):
        assert resumed.history[6] == pytest.approx(expected.history[6], rel=1e-10)
    assert len(children(lab_root, "unequal")) == 3


def test_a_run_that_was_created_but_not_written_down_is_found_again(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill between the two leaves it: RUNNING in MLflow, unknown to its folder."""

    def killed(*_: object, **__: object) -> None:
        raise StopHere

    (config,) = lanes(lab_root, "unwritten", "seed=0", options=["resume=true"])
    # The base is a run too: it must be there before runs are killed as they start.
    results(run_pack([replace(config, study="unwritten-before")]))
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "start", killed)
        patch.setattr(MlflowClient, "set_terminated", lambda *_: None)
        with pytest.raises(StopHere):
            run_pack([config])
    assert [run.info.status for run in children(lab_root, "unwritten")] == ["RUNNING"]
    results(run_pack([config]))
    assert [run.info.status for run in children(lab_root, "unwritten")] == ["FINISHED"]


def test_a_run_that_another_process_is_at_does_not_hold_up_the_others(lab_root: Path) -> None:
    configs = lanes(lab_root, "locked", "seed=0", "seed=1")
    with RunFolder.of(configs[0]).lock(wait=False):
        locked, other = run_pack(configs)
    assert "another process is training this very run" in str(locked)
    assert isinstance(other, RunResult)


def test_a_crash_of_the_pack_is_a_failure_of_every_run(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(pack, "fit_pack", crash)
    outcomes = run_pack(lanes(lab_root, "crash-pack", "seed=0", "seed=1"))
    assert [str(outcome) for outcome in outcomes] == ["out of memory"] * 2
    assert {run.info.status for run in children(lab_root, "crash-pack")} == {"FAILED"}


def test_a_crash_while_finishing_one_lane_is_its_own(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = lifecycle.write_files

    def crash(config: Config, *rest: Any) -> None:
        if config.seed == 0:
            raise OSError(28, "No space left on device", "somewhere")
        write(config, *rest)

    monkeypatch.setattr(lifecycle, "write_files", crash)
    first, other = run_pack(lanes(lab_root, "full-disk", "seed=0", "seed=1"))
    assert isinstance(first, FullDiskError)  # as alone
    assert isinstance(other, RunResult)
    status = {run.data.tags["seed"]: run.info.status for run in children(lab_root, "full-disk")}
    assert status == {"0": "FAILED", "1": "FINISHED"}


def test_costs_of_a_lane_are_marked(lab_root: Path) -> None:
    for result in results(run_pack(lanes(lab_root, "costs", "seed=0", "seed=1"))):
        costs = {name for name in result.metrics if name.startswith("cost/")}
        assert {"cost/pack_seconds", "cost/lane_seconds", "cost/pack_wall_seconds"} <= costs
        assert not costs & {"cost/train_seconds", "cost/wall_seconds", "cost/peak_memory_mib"}
        assert result.metrics["cost/lane_seconds"] < result.metrics["cost/pack_seconds"]
        assert result.tags["pack_size"] == "2"
        assert result.missing["cost/train_seconds"].startswith("trained in a pack of 2")


def test_lanes_over_other_frozen_weights_are_packs_of_their_own(lab_root: Path) -> None:
    """Whatever a plan did not foresee: here the planner is not asked."""
    same = ["adapter.head=freeze", "base.head=new", "epochs=1", "tracking=none"]
    each = [f"seed={seed} init_seed={seed % 2}" for seed in range(5)]
    configs = lanes(lab_root, "two-heads", *each, options=same)
    sizes = [result.tags["pack_size"] for result in results(run_pack(configs))]
    assert sizes == ["3", "2", "3", "2", "3"]


@pytest.mark.parametrize(("loss", "waited"), [(2.0, 0), (1e200, 1)])
def test_a_first_loss_that_is_no_float32_is_no_better_than_none(
    lab_root: Path, loss: float, waited: int
) -> None:
    """As early stopping has it for a run alone."""
    (config,) = lanes(lab_root, "infinite", "select_on=loss early_stopping=1")
    task = LaneTask(config, AdaptedModel, lab_root, lambda *_: None)  # type: ignore[arg-type]
    progress = LaneProgress()
    progress.end_epoch(task, {"train/loss": 1.0, "val/loss": loss}, {})
    assert (progress.best_epoch, progress.waited) == (1, waited)
    assert progress.has_ended(config) == bool(waited)


def test_a_pack_of_several_methods_goes_on_where_it_stopped(lab_root: Path) -> None:
    each = ("adapter=dora", "adapter.rank=4 seed=1", "adapter=dora adapter.dropout=0.3 seed=2")
    whole = results(run_pack(lanes(lab_root, "mixed-whole", *each)))
    configs = lanes(lab_root, "mixed", *each, options=["resume=true"])
    interrupted(configs, after=3 * 3.5 / 6)
    for expected, resumed in zip(whole, results(run_pack(configs)), strict=True):
        assert resumed.history.keys() == expected.history.keys()
        assert resumed.history[6] == pytest.approx(expected.history[6], rel=1e-10)
        assert resumed.metrics["test/nll"] == pytest.approx(expected.metrics["test/nll"], rel=1e-10)
