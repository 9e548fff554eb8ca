"""Tasks are carried out here or by an engine, whichever has time first."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import ConfigError, RunLostError, TrialPrunedError
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.studies.tasks import execution
from adapterlab.studies.tasks.engine import Engine, Task
from adapterlab.studies.tasks.execution import carry_out, sendable
from adapterlab.tracking import mlflow_run
from adapterlab.tracking.mlflow_run import tracked
from adapterlab.tracking.servers.errors import StoreAwayError
from adapterlab.tracking.stores.uris import default_uri
from lab import tiny


class ByHand:
    """An engine that begins and ends tasks as it is told."""

    def __init__(self) -> None:
        self.futures: list[Future[list[Any]]] = []
        self.cancelled: list[Future[list[Any]]] = []

    def submit(self, task: Task) -> "Future[list[Any]]":
        self.futures.append(Future())
        return self.futures[-1]

    def begin(self, number: int) -> "Future[list[Any]]":
        assert self.futures[number].set_running_or_notify_cancel()
        return self.futures[number]

    def send(self) -> None:
        self.sent = len(self.futures)

    def name(self, future: "Future[list[Any]]") -> str | None:
        return None

    def cancel(self, future: "Future[list[Any]]") -> None:
        self.cancelled.append(future)
        if not future.cancel():
            future.set_exception(RunLostError("it ended with code 143"))

    def where(self, future: "Future[list[Any]]") -> str | None:
        return None

    def moved(self, future: "Future[list[Any]]") -> float:
        return 0.25

    def close(self) -> None:
        pass


class Told:
    """What `carry_out` has told."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.moves = 0.0
        self.ended: dict[int, list[Any]] = {}

    def move(self, runs: float) -> None:
        self.moves += runs

    def carried_out(self, engine: Engine, tasks: list[Task]) -> None:
        carry_out(
            tasks,
            lambda config: None,  # type: ignore[arg-type,return-value]
            engine,
            begin=self.begun.append,
            move=self.move,
            end=lambda number, outcomes: self.ended.update({number: outcomes}),
        )


def tasks(count: int) -> list[Task]:
    return [Task((), packed=False) for _ in range(count)]


def test_what_the_engine_has_not_begun_is_carried_out_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, told = ByHand(), Told()

    def here(task: Task, data: object, moved: Any) -> list[Any]:
        if told.begun == [0]:
            engine.begin(1)
            engine.begin(2).set_result(["elsewhere"])
        else:  # the last: what the engine is at is waited for
            engine.futures[1].set_exception(ConfigError("no"))
        moved(1.0)
        return ["here"]

    monkeypatch.setattr(execution, "outcomes_of", here)
    told.carried_out(engine, tasks(4))
    assert told.begun == [0, 1, 2, 3]
    assert told.ended == {0: ["here"], 1: [], 2: ["elsewhere"], 3: ["here"]}
    assert next(iter(told.ended)) == 0
    assert told.moves >= 2.5
    assert not engine.cancelled


def test_an_interrupt_ends_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, told = ByHand(), Told()

    def interrupted(*_: object) -> list[Any]:
        engine.begin(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "outcomes_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        told.carried_out(engine, tasks(3))
    assert engine.cancelled == engine.futures[1:]
    assert not told.ended


def test_runs_of_a_task_that_is_lost_are_marked(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(lab_root, "tracking=mlflow", "study=lost-elsewhere", "base=scratch")
    engine, told = ByHand(), Told()
    lost = RunLostError("the process that trained it ended with code -9")

    def here(*_: object) -> list[Any]:
        engine.begin(1).set_exception(lost)
        return []

    monkeypatch.setattr(execution, "outcomes_of", here)
    with tracked(config, RunFolder.of(config).link, name="lost") as tracker:
        told.carried_out(engine, [Task((), packed=False), Task((config,), packed=False)])
        assert tracker.run_id is not None
        run = MlflowClient(default_uri(lab_root / "mlruns")).get_run(tracker.run_id)
    assert told.ended[1] == [lost]
    assert run.info.status == "FAILED"
    assert run.data.tags["error"].endswith("ended with code -9")


@pytest.mark.parametrize("away", ["connect", "info_of"])
def test_a_store_that_is_away_when_a_task_is_lost_ends_no_study(
    away: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unanswered(*_: object) -> None:
        raise StoreAwayError("tracking.uri=http://there has stopped answering")

    config = tiny(tmp_path, "tracking=mlflow", "study=lost-elsewhere", "base=scratch")
    RunFolder.of(config).path.mkdir(parents=True)
    RunFolder.of(config).link.remember("an id")
    monkeypatch.setattr(mlflow_run, "connect", lambda *_: None)
    monkeypatch.setattr(mlflow_run, away, unanswered)
    engine, told = ByHand(), Told()

    def here(*_: object) -> list[Any]:
        engine.begin(1).set_exception(RunLostError("killed"))
        return ["here"]

    monkeypatch.setattr(execution, "outcomes_of", here)
    told.carried_out(engine, [Task((), packed=False), Task((config,), packed=False)])
    assert told.ended[0] == ["here"]
    assert [str(error) for error in told.ended[1]] == ["killed"]
    (line,) = caplog.messages
    assert line.startswith(
        "MLflow could not be told of run an id that its process has died: tracking.uri"
    )
    mlflow_run.mark_split(config, "an id", 4)
    mlflow_run.mark_pruned(config, "an id", TrialPrunedError("median", 1, 2, 0.5))
    assert len(caplog.messages) == 3


def test_an_outcome_that_cannot_be_sent_is_told_in_words() -> None:
    class LocalError(Exception):
        pass

    assert sendable([1]) == [1]
    assert str(sendable(LocalError("here only"))) == "LocalError: here only"
