"""A lane that ends before its pack has its last epochs in MLflow then, not when the pack ends."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.lifecycle import OpenRun
from adapterlab.runs.packs.pack import run_pack
from adapterlab.tracking import trackers
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.tracking.trackers import MLflowTracker
from lab import tiny
from power_cuts import cut_in

pytestmark = pytest.mark.usefixtures("no_pictures")

TRACKED = ("tracking=mlflow", "base=scratch", "adapter=head", "epochs=5", "limit=64")


def configured(root: Path, study: str, *more: str) -> Config:
    return tiny(root, *TRACKED, f"study={study}", *more)


def logged(config: Config) -> list[int]:
    """Return the epochs that MLflow has of a run."""
    run_id = str(RunFolder.of(config).link.run_id())
    client = MlflowClient(default_uri(config.mlruns))
    return [point.step for point in client.get_metric_history(run_id, "train/loss")]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[Config, Config], dict[int, list[int]]]:
    """Have every epoch take no time, and look what MLflow has of one run in those of another."""
    monkeypatch.setattr(trackers, "HELD", 1e9)
    real = OpenRun.report

    def look(looking: Config, at: Config) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}

        def report(run: OpenRun, epoch: int, metrics: Mapping[str, float]) -> None:
            if run.config.order_seed == looking.order_seed:
                found[epoch] = logged(at)
            real(run, epoch, metrics)

        monkeypatch.setattr(OpenRun, "report", report)
        return found

    return look


def test_one_that_is_stopped_early(
    tmp_path: Path, seen: Callable[[Config, Config], dict[int, list[int]]]
) -> None:
    stop = ("early_stopping=1", "optimizer=sgd", "select_on=loss")
    short = configured(tmp_path, "early", *stop, "optimizer.lr=1e-30", "order_seed=1")
    long = configured(tmp_path, "early", *stop, "optimizer.lr=0.001", "order_seed=2")
    found = seen(long, short)
    first, second = run_pack([short, long])
    assert isinstance(first, RunResult)
    assert isinstance(second, RunResult)
    assert [*first.history] == [1, 2]
    assert [*second.history] == [1, 2, 3, 4, 5]
    assert found == {1: [], 2: [], 3: [1, 2], 4: [1, 2], 5: [1, 2]}
    assert logged(short) == [1, 2]
    assert logged(long) == [1, 2, 3, 4, 5]


def test_one_that_fails(
    tmp_path: Path, seen: Callable[[Config, Config], dict[int, list[int]]]
) -> None:
    fails = configured(tmp_path, "fails", "order_seed=1")
    other = replace(fails, order_seed=2)
    found = seen(other, fails)
    shown = OpenRun.report

    def report(run: OpenRun, epoch: int, metrics: Mapping[str, float]) -> None:
        if run.config.order_seed == 1 and epoch == 3:
            raise ValueError("its file")
        shown(run, epoch, metrics)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenRun, "report", report)
        failed, result = run_pack([fails, other])
    assert isinstance(failed, ValueError)
    assert isinstance(result, RunResult)
    assert found[5] == [1, 2]


def test_one_whose_epochs_are_not_taken_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = ("early_stopping=1", "optimizer=sgd", "select_on=loss")
    short = configured(tmp_path, "refused", *stop, "optimizer.lr=1e-30", "order_seed=1")
    long = configured(tmp_path, "refused", *stop, "optimizer.lr=0.001", "order_seed=2")

    def flush(tracker: MLflowTracker) -> None:
        raise ValueError("not taken")

    monkeypatch.setattr(MLflowTracker, "flush", flush)
    failed, result = run_pack([short, long])
    assert isinstance(failed, ValueError)
    assert isinstance(result, RunResult)


def test_one_that_ends_before_others_take_up_what_they_had(
    tmp_path: Path, seen: Callable[[Config, Config], dict[int, list[int]]]
) -> None:
    """Lanes that have come equally far train together: those that have come less far before."""

    begun = configured(tmp_path, "groups", "order_seed=2")
    fresh = configured(tmp_path, "groups", "order_seed=1")
    cut_in(begun, 3, reported=True)
    begun, fresh = (replace(one, resume=True) for one in (begun, fresh))
    found = seen(begun, fresh)
    outcomes = run_pack([begun, fresh])
    assert all(isinstance(one, RunResult) for one in outcomes), outcomes
    assert found[4] == [1, 2, 3, 4, 5]
