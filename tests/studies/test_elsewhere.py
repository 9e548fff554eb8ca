"""Tasks that an engine carries out elsewhere: submitted again, split, given up, written down."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from adapterlab.base.errors import ConfigError, RunLostError
from adapterlab.studies.launching.dispatch import carry_out_elsewhere
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.records import records
from lab import tiny


class Script:
    """An engine that ends tasks by what `told` says of them, in the order of their submission."""

    def __init__(self, *told: Any) -> None:
        self.told = list(told)
        self.tasks: list[Task] = []
        self.cancelled: list[Future[list[Any]]] = []
        self.waiting: list[Future[list[Any]]] = []

    def submit(self, task: Task) -> "Future[list[Any]]":
        self.tasks.append(task)
        future: Future[list[Any]] = Future()
        self.waiting.append(future)
        return future

    def send(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            future.set_running_or_notify_cancel()
            if isinstance(outcome := self.told.pop(0), Exception):
                future.set_exception(outcome)
            elif outcome is not None:
                future.set_result(outcome)

    def cancel(self, future: "Future[list[Any]]") -> None:
        self.cancelled.append(future)
        future.set_exception(RunLostError("cancelled"))

    def name(self, future: "Future[list[Any]]") -> str | None:
        return "17"

    def where(self, future: "Future[list[Any]]") -> str | None:
        return "job 17 on n1"

    def moved(self, future: "Future[list[Any]]") -> float:
        return 0.0

    def close(self) -> None:
        pass


@pytest.fixture
def pack(tmp_path: Path) -> Task:
    options = [f"seed={seed}" for seed in range(4)]
    configs = [tiny(tmp_path, "study=there", option) for option in options]
    return Task(tuple(configs), packed=True)


def carried_out(engine: Script, folder: Path, *tasks: Task) -> dict[int, list[Any]]:
    ended: dict[int, list[Any]] = {}
    begun: list[int] = []
    carry_out_elsewhere(
        tasks, engine, "script", folder,
        begin=begun.append, move=lambda runs: None, end=ended.__setitem__,
    )  # fmt: skip
    assert sorted(begun) == sorted(ended)
    assert not engine.told
    return ended


def test_a_lost_task_goes_on_in_another(pack: Task, tmp_path: Path) -> None:
    engine = Script(RunLostError("node n1 is gone"), ["a", "b", "c", "d"])
    assert carried_out(engine, tmp_path / "tasks", pack) == {0: ["a", "b", "c", "d"]}
    first, second = engine.tasks
    assert not first.resume
    assert second.resume
    assert first.id == second.id
    (record,) = records(tmp_path / "tasks")
    assert (record.state, record.attempts, record.job) == ("done", 2, "17")
    assert record.where == "job 17 on n1"
    assert len(record.runs) == len(set(record.runs)) == 4


def test_after_three_times_a_task_is_given_up(pack: Task, tmp_path: Path) -> None:
    lost = [RunLostError(f"killed {number}") for number in range(3)]
    engine = Script(lost[0], ["e"] * 4, lost[1], lost[2])
    ended = carried_out(engine, tmp_path / "tasks", pack, pack)
    assert ended[1] == ["e"] * 4
    assert {str(error) for error in ended[0]} == {
        "its task has failed 3 times, the last time: killed 2"
    }
    given_up, done = records(tmp_path / "tasks")
    if given_up.state == "done":
        given_up, done = done, given_up
    assert (given_up.state, given_up.error, given_up.attempts) == ("given up", "killed 2", 3)
    assert done.state == "done"


def test_a_pack_that_is_too_large_goes_again_in_two(pack: Task, tmp_path: Path) -> None:
    lack = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    other = ConfigError("of its own")
    engine = Script([lack, "b", lack, lack], ["a", lack], ["d"], [lack])
    ended = carried_out(engine, tmp_path / "tasks", pack)
    # The first half was split once more; its last run has no half, and fails.
    assert ended[0][:2] == ["a", "b"]
    assert ended[0][3] == "d"
    assert isinstance(ended[0][2], RuntimeError)
    assert [len(task.configs) for task in engine.tasks] == [4, 2, 1, 1]
    assert [config.seed for config in engine.tasks[1].configs] == [0, 2]
    states = [record.state for record in records(tmp_path / "tasks")]
    assert sorted(states) == ["done", "failed", "split", "split"]
    assert carried_out(Script([other] * 4), tmp_path / "others", pack) == {0: [other] * 4}


def test_an_interrupt_ends_what_is_on_its_way(pack: Task, tmp_path: Path) -> None:
    engine = Script(["a"] * 4, None)

    def interrupted(number: int, outcomes: list[Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out_elsewhere(
            [pack, pack], engine, "script", tmp_path / "tasks",
            begin=lambda number: None, move=lambda runs: None, end=interrupted,
        )  # fmt: skip
    assert len(engine.cancelled) == 1
    assert sorted(record.state for record in records(tmp_path / "tasks")) == ["cancelled", "done"]
