"""When a store is written to: not for each of many short epochs, and nothing is lost by that."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.data import load_data
from adapterlab.runs.folders.homes import home_of
from adapterlab.runs.packs.pack import run_pack
from adapterlab.tracking import trackers
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.tracking.trackers import MLflowTracker
from lab import tiny


class Calls:
    """Stands for MLflow's client: what it was called with, in order."""

    def __init__(self) -> None:
        self.steps: list[list[int]] = []
        self.ended: list[str] = []

    def log_batch(self, run_id: str, metrics: list[Metric], **_: Any) -> None:
        self.steps.append([metric.step for metric in metrics])

    def log_artifact(self, *_: Any) -> None:
        self.steps.append([])

    def set_terminated(self, run_id: str, status: str, at: int) -> None:
        self.ended.append(status)


class Clock:
    """Stands for the module `time`: seconds that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(trackers, "time", clock)
    return clock


def train(
    tracker: MLflowTracker, clock: Clock, epoch: int, seconds: float, *, last: bool = False
) -> None:
    """Log an epoch that took so long."""
    clock.now += seconds
    tracker.log(metrics={"val/loss": 0.5}, step=epoch, last=last)


def test_epochs_that_follow_each_other_quickly_are_one_call(clock: Clock) -> None:
    calls = Calls()
    tracker = MLflowTracker(calls, "run")
    for epoch in range(1, 8):
        train(tracker, clock, epoch, 0.3)
    assert calls.steps == [[1, 2, 3, 4]], "the store waits for at most a second and one epoch"
    tracker.artifact(Path(__file__))
    assert calls.steps == [[1, 2, 3, 4], [5, 6, 7], []]
    train(tracker, clock, 8, 0.0)
    tracker.end("KILLED")
    assert calls.steps[-1] == [8]
    assert calls.ended == ["KILLED"]


def test_an_epoch_of_more_than_a_second_is_written_at_once(clock: Clock) -> None:
    calls = Calls()
    tracker = MLflowTracker(calls, "run")
    for epoch in range(1, 4):
        train(tracker, clock, epoch, 1.5)
        assert calls.steps[-1] == [epoch]
    train(tracker, clock, 4, 0.1)
    train(tracker, clock, 5, 30.0)
    assert calls.steps == [[1], [2], [3], [4, 5]]


def test_a_last_epoch_comes_with_the_runs_own_metrics(clock: Clock) -> None:
    calls = Calls()
    tracker = MLflowTracker(calls, "run")
    train(tracker, clock, 1, 20.0, last=True)
    assert calls.steps == []
    tracker.log(metrics={"test/loss": 0.5}, tags={"baseline": "none"})
    assert calls.steps == [[1, 0]]
    slow = Calls()
    tracker = MLflowTracker(slow, "run")
    train(tracker, clock, 1, 40.0, last=True)
    assert slow.steps == [[1]], "a test may take as long as the epoch: it is not waited for"


def test_what_is_no_epoch_is_written_at_once(clock: Clock) -> None:
    calls = Calls()
    tracker = MLflowTracker(calls, "run")
    train(tracker, clock, 1, 0.0)
    tracker.log(metrics={"test/loss": 0.5})
    assert calls.steps == [[1, 0]]


class AwayError(Exception):
    """Stands for a store that is locked, or a disk that is full."""


def test_what_a_store_has_not_taken_is_written_with_the_runs_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls()
    tracker = MLflowTracker(calls, "run")
    train(tracker, clock, 1, 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(calls, "log_batch", raising(AwayError))
        with pytest.raises(AwayError):
            train(tracker, clock, 2, 5.0)
    tracker.end("KILLED")
    assert calls.steps == [[1, 2]]
    assert calls.ended == ["KILLED"]


def test_a_run_ends_that_failed_by_what_no_store_takes(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls()
    tracker = MLflowTracker(calls, "run")
    monkeypatch.setattr(calls, "log_batch", raising(AwayError))
    with pytest.raises(AwayError):
        train(tracker, clock, 1, 5.0)
    with pytest.raises(AwayError):
        tracker.end("FINISHED")
    assert calls.ended == []
    tracker.end("KILLED")
    assert calls.ended == ["KILLED"]


def raising(error: type[Exception]) -> Callable[..., None]:
    def call(*_: Any, **__: Any) -> None:
        raise error

    return call


class KilledError(BaseException):
    """Stands for a SIGKILL: nothing is written after it."""


def end_at(epoch: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a run end when it logs an epoch that waits: a dead process writes nothing more."""
    original = MLflowTracker.log

    def log(tracker: MLflowTracker, **what: Any) -> None:
        original(tracker, **what)
        if what.get("step") == epoch:
            raise error

    monkeypatch.setattr(trackers, "HELD", 1e9)
    monkeypatch.setattr(MLflowTracker, "log", log)
    if isinstance(error, KilledError):
        monkeypatch.setattr(MLflowTracker, "end", lambda *_, **__: None)


def carry_out(config: Config, way: str) -> None:
    """Carry a run out alone, or as a lane of a pack; it raises what the run does."""
    if way == "alone":
        single.run(config)
        return
    (outcome,) = run_pack([config])
    if isinstance(outcome, Exception):
        raise outcome


def logged(root: Path, study: str) -> tuple[list[int], str]:
    """Return the epochs that the study's last run has in the store, and how it ended."""
    client = MlflowClient(default_uri(root / "mlruns"))
    experiments = [one.experiment_id for one in client.search_experiments()]
    run, *_ = client.search_runs(experiments, f"tags.study = '{study}' and tags.kind = 'run'")
    points = client.get_metric_history(run.info.run_id, "val/loss")
    return sorted(point.step for point in points), run.info.status


@pytest.mark.parametrize("way", ["alone", "pack"])
@pytest.mark.parametrize("then", ["ends", "fails", "is killed again"])
def test_epochs_that_a_killed_process_had_not_written_are_written_once(
    way: str, then: str, lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = f"held-{way}-{then.replace(' ', '-')}"
    config = tiny(lab_root, "tracking=mlflow", f"study={study}", "epochs=5", "resume=true")
    with monkeypatch.context() as patch:
        end_at(3, KilledError(), patch)
        with pytest.raises(KilledError):
            carry_out(config, way)
    assert logged(lab_root, study) == ([], "RUNNING")
    if then == "ends":
        carry_out(config, way)
        assert logged(lab_root, study) == ([1, 2, 3, 4, 5], "FINISHED")
        return
    failure = AwayError("nothing") if then == "fails" else KilledError()
    with monkeypatch.context() as patch:
        end_at(4, failure, patch)
        with pytest.raises(type(failure)):
            carry_out(config, way)
    if then == "fails":
        assert logged(lab_root, study) == ([1, 2, 3, 4], "FAILED")
    carry_out(config, way)
    assert logged(lab_root, study) == ([1, 2, 3, 4, 5], "FINISHED")


@pytest.mark.parametrize("way", ["alone", "pack"])
def test_a_run_that_was_deleted_meanwhile_has_all_epochs_in_another(
    way: str, lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = f"deleted-{way}"
    config = tiny(lab_root, "tracking=mlflow", f"study={study}", "epochs=3", "resume=true")
    with monkeypatch.context() as patch:
        end_at(2, AwayError("nothing"), patch)
        with pytest.raises(AwayError):
            carry_out(config, way)
    assert logged(lab_root, study) == ([1, 2], "FAILED")
    client = MlflowClient(default_uri(lab_root / "mlruns"))
    run_id = home_of(config, load_data(config).hash).link.run_id()
    assert run_id is not None
    client.delete_run(run_id)
    carry_out(config, way)
    assert logged(lab_root, study) == ([1, 2, 3], "FINISHED")


def test_a_run_whose_folder_is_gone_logs_no_epoch_twice(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(lab_root, "tracking=mlflow", "study=gone", "epochs=3", "resume=true")
    with monkeypatch.context() as patch:
        end_at(2, AwayError("nothing"), patch)
        with pytest.raises(AwayError):
            single.run(config)
    shutil.rmtree(home_of(config, load_data(config).hash).path)
    single.run(config)
    assert logged(lab_root, "gone") == ([1, 2, 3], "FINISHED")
