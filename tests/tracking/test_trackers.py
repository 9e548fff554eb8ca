"""When a store is written to: not for each of many short epochs, and nothing is lost by that."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from adapterlab.runs import single
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


def test_epochs_that_a_killed_process_had_not_written_are_written_once(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(lab_root, "tracking=mlflow", "study=held", "epochs=4", "resume=true")

    class KilledError(BaseException):
        """Stands for a SIGKILL: nothing is written after it."""

    def log(tracker: MLflowTracker, **what: Any) -> None:
        original(tracker, **what)
        if what.get("step") == 3:
            raise KilledError

    original = MLflowTracker.log
    with monkeypatch.context() as patch:
        patch.setattr(trackers, "HELD", 1e9)
        patch.setattr(MLflowTracker, "log", log)
        patch.setattr(MLflowTracker, "end", lambda *_, **__: None)
        with pytest.raises(KilledError):
            single.run(config)
    client = MlflowClient(default_uri(lab_root / "mlruns"))
    ended = single.run(config)
    points = client.get_metric_history(str(ended.run_id), "val/loss")
    assert sorted(point.step for point in points) == [1, 2, 3, 4]
    assert {point.step: point.value for point in points} == {
        epoch: metrics["val/loss"] for epoch, metrics in ended.history.items()
    }
