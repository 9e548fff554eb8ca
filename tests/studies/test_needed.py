"""What several tasks need: found beforehand, made once, and waited for by those that need it."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterlab.base.errors import AdapterLabError, RunLostError
from adapterlab.data import tokens
from adapterlab.runs.base_weights import base_run
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.state import finished_run
from adapterlab.studies.launching.dispatch import carry_out_elsewhere, submit_elsewhere
from adapterlab.studies.planning.packing import plan_packs
from adapterlab.studies.sweeps.shared_data import ReadOnce
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.execution import outcomes_of
from adapterlab.studies.tasks.records import records
from adapterlab.studies.tasks.resumable_files import resumable_files
from adapterlab.studies.tasks.shared_inputs import Need, needs
from lab import tiny
from reviews import small, write_reviews


def task(root: Path, *options: str) -> Task:
    return Task((tiny(root, "study=there", *options),), packed=False)


def test_a_base_is_made_once_and_then_found(tmp_path: Path) -> None:
    data = ReadOnce()
    tasks = [task(tmp_path, f"seed={seed}") for seed in range(3)]
    other = task(tmp_path, "base.seed=7")  # of another base, which nobody else needs
    assert needs([tasks[0], other], [0, 0], data) == []
    (need,) = needs([tasks[0], other, *tasks[1:]], [0] * 4, data)
    assert (need.of, need.base, need.prefixes) == ((0, 2, 3), True, 0)
    assert need.words == "made once for 3 tasks: the base, trained on digits"
    assert resumable_files(need.task) == frozenset()
    assert outcomes_of(need.task, data, lambda runs: None) == [None]
    assert resumable_files(need.task)  # a base that has come further is progress
    config = tasks[0].configs[0]
    base, source = base_run(config), data(config).of_source
    assert base is not None
    assert source is not None
    assert finished_run(base, source) is not None
    assert not RunFolder.of(config).path.exists()  # the run itself has not begun
    assert needs(tasks, [0] * 3, data) == []


def test_a_base_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    first = task(tmp_path, "base=checkpoint", "base.path=nowhere.pt")
    prepares = Task(first.configs, packed=False, prepares=True)
    (outcome,) = outcomes_of(prepares, ReadOnce(), lambda runs: None)
    assert "nowhere.pt" in str(outcome)


@pytest.mark.parametrize(
    ("options", "depths", "found"),
    [
        ([(), ()], (2, 2), [(0, 1)]),
        ([("seed=0",), ("seed=1",), ("adapter.rank=2",)], (2, 2, 2), [(0, 1, 2)]),
        ([(), ()], (2, 1), []),  # two prefixes, each of one task
        ([(), (), (), ()], (2, 1, 1, 2), [(0, 1, 2, 3)]),
        ([(), ()], (0, 0), []),
        ([("hardware.frozen_prefix=never",)] * 2, (2, 2), []),
        ([("dataset.validation_seed=0",), ("dataset.validation_seed=1",)], (2, 2), []),
    ],
)
def test_a_frozen_prefix_is_shared_by_what_reads_the_same(
    options: Sequence[tuple[str, ...]],
    depths: Sequence[int],
    found: list[tuple[int, ...]],
    tmp_path: Path,
) -> None:
    tasks = [task(tmp_path, "base=scratch", *own) for own in options]
    assert [need.of for need in needs(tasks, depths, ReadOnce())] == found


def test_a_frozen_prefix_is_computed_before_its_runs(tmp_path: Path) -> None:
    options = ("model=vit_tiny", "base=scratch", "adapter=last_layers", "epochs=3", "figures=never")
    configs = [tiny(tmp_path, *options, f"order_seed={seed}", "pack=never") for seed in (0, 1)]
    configs += [tiny(tmp_path, "base=scratch", "adapter=last_layers", "pack=never")] * 2
    packs = plan_packs(configs, [None] * 4, 8.0)
    assert [pack.depth for pack in packs] == [3, 3, 0, 0]  # an MLP gives no hidden states
    tasks = [Task((config,), packed=False) for config in configs]
    data = ReadOnce()
    (need,) = needs(tasks, [pack.depth for pack in packs], data)
    assert (need.of, need.words) == ((0, 1), "made once for 2 tasks: the frozen prefix")
    assert outcomes_of(need.task, data, lambda runs: None) == [None]
    for result in outcomes_of(tasks[1], data, lambda runs: None):
        assert (
            "an earlier run had computed the frozen prefix: seconds are without it" in result.notes
        )


def test_tokens_of_long_texts_are_made_before_their_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews = write_reviews(tmp_path / "reviews")

    def of(*options: str) -> Task:
        return Task((small(tmp_path, reviews, "study=there", *options),), packed=False)

    tasks = [of("adapter=full"), of("adapter=lora"), of("adapter=lora", "dataset.max_length=9")]
    tasks += [of("adapter=full", "seed=1"), of("adapter=head")]
    depths = [0, 0, 0, 0, 2]
    assert needs(tasks, depths, ReadOnce()) == []  # they are tokenised before a task has begun
    monkeypatch.setattr("adapterlab.studies.tasks.shared_inputs.LONG_TEXTS", 2_000)
    (need,) = needs(tasks, depths, ReadOnce())
    assert (need.of, len(need.task.configs), need.prefixes) == ((0, 1, 3, 4), 1, 0)
    assert need.words == f"made once for 4 tasks: the tokens of {need.texts[0]}"
    # A prefix of the same texts comes of them; of others, it is made beside.
    (need,) = needs([*tasks, of("adapter=head", "order_seed=1")], [*depths, 2], ReadOnce())
    assert (need.of, len(need.task.configs), need.prefixes) == ((0, 1, 3, 4, 5), 1, 1)
    assert need.words.endswith(" and the frozen prefix")
    other = [of("adapter=head", "dataset.max_length=9", f"order_seed={seed}") for seed in (0, 1)]
    (need,) = needs([*tasks, *other], [*depths, 2, 2], ReadOnce())
    assert (need.of, len(need.task.configs), need.prefixes) == ((0, 1, 2, 3, 4, 5, 6), 2, 1)
    # Few of the texts are tokenised in a moment.
    few = [of("limit=20", f"order_seed={seed}") for seed in (0, 1)]
    assert needs(few, [0, 0], ReadOnce()) == []

    encoded: list[str] = []
    encode = tokens._encode

    def counted(texts: Any, *how: Any) -> Any:
        encoded.append(how[-1])
        return encode(texts, *how)

    monkeypatch.setattr(tokens, "_encode", counted)
    (need,) = needs(tasks, depths, ReadOnce())
    assert outcomes_of(need.task, ReadOnce(), lambda runs: None) == [None]
    assert len(encoded) == 3
    for number in need.of:
        outcomes_of(tasks[number], ReadOnce(), lambda runs: None)
    assert len(encoded) == 3


class Engine:
    """Ends tasks by what is told of them, and keeps what was under way when each was submitted."""

    def __init__(self, *told: Any) -> None:
        self.told, self.tasks = list(told), list[Task]()
        self.rounds: list[list[bool]] = []
        self._line: list[Future[list[Any]]] = []

    def submit(self, task: Task) -> "Future[list[Any]]":
        self.tasks.append(task)
        self._line.append(Future())
        return self._line[-1]

    def send(self) -> None:
        line, self._line = self._line, []
        if line:
            self.rounds.append([one.prepares for one in self.tasks[-len(line) :]])
        for future in line:
            future.set_running_or_notify_cancel()
            outcome = self.told.pop(0)
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def name(self, future: "Future[list[Any]]") -> str | None:
        return "17"

    def cancel(self, future: "Future[list[Any]]") -> None:
        raise NotImplementedError

    def where(self, future: "Future[list[Any]]") -> str | None:
        return None

    def moved(self, future: "Future[list[Any]]") -> float:
        return 0.0

    def close(self) -> None:
        pass


def carried_out(
    engine: Engine, folder: Path, tasks: Sequence[Task], need: Need
) -> dict[int, list[Any]]:
    ended: dict[int, list[Any]] = {}
    begun: list[int] = []
    carry_out_elsewhere(
        tasks, engine, "script", folder, (), [need],
        begin=begun.append, move=lambda runs: None, end=ended.__setitem__,
    )  # fmt: skip
    assert sorted(begun) == sorted(ended)
    assert not engine.told
    return ended


@pytest.fixture
def three(tmp_path: Path) -> tuple[list[Task], Need]:
    """Three tasks, of which the first and the last need something."""
    tasks = [task(tmp_path, f"seed={seed}") for seed in range(3)]
    made = replace(tasks[0], prepares=True)
    return tasks, Need(made, (0, 2), base=True, prefixes=0)


def test_tasks_wait_for_what_they_need(three: tuple[list[Task], Need], tmp_path: Path) -> None:
    engine = Engine(RunLostError("node n1 is gone"), ["b"], [None], ["a"], ["c"])
    assert carried_out(engine, tmp_path / "tasks", *three) == {0: ["a"], 1: ["b"], 2: ["c"]}
    # The first attempt, with what needs nothing; the second one; and then the others.
    assert engine.rounds == [[True, False], [True], [False, False]]
    written = list(records(tmp_path / "tasks"))
    assert [record.state for record in written] == ["done"] * 4
    assert sorted(len(record.runs) for record in written) == [0, 1, 1, 1]


def test_what_cannot_be_made_ends_what_needs_it(
    three: tuple[list[Task], Need], tmp_path: Path
) -> None:
    error = AdapterLabError("the base diverged")
    engine = Engine([error], ["b"])
    assert carried_out(engine, tmp_path / "tasks", *three) == {0: [error], 1: ["b"], 2: [error]}
    states = {record.error: record.state for record in records(tmp_path / "tasks")}
    assert states == {"the base diverged": "failed", None: "done"}


@pytest.mark.parametrize("lost", ["three times", "memory"])
def test_what_is_lost_leaves_it_to_those_who_need_it(
    lost: str, three: tuple[list[Task], Need], tmp_path: Path
) -> None:
    if lost == "memory":
        told: list[Any] = [[RuntimeError("CUDA out of memory")], ["b"]]
    else:
        gone = RunLostError("node n1 is gone")
        told = [gone, ["b"], gone, gone]
    engine = Engine(*told, ["a"], ["c"])
    assert carried_out(engine, tmp_path / "tasks", *three) == {0: ["a"], 1: ["b"], 2: ["c"]}


def test_an_interrupt_cancels_what_has_not_been_sent(
    three: tuple[list[Task], Need], tmp_path: Path
) -> None:
    def interrupted(number: int, outcomes: list[Any]) -> None:
        raise KeyboardInterrupt

    class Busy(Engine):
        def send(self) -> None:
            for future, one in zip(self._line, self.tasks, strict=False):
                future.set_running_or_notify_cancel()
                if not one.prepares:
                    future.set_result(["b"])

        def cancel(self, future: "Future[list[Any]]") -> None:
            future.set_exception(RunLostError("cancelled"))

    with pytest.raises(KeyboardInterrupt):
        carry_out_elsewhere(
            three[0], Busy(), "script", tmp_path / "tasks", (), [three[1]],
            begin=lambda number: None, move=lambda runs: None, end=interrupted,
        )  # fmt: skip
    states = [record.state for record in records(tmp_path / "tasks")]
    assert sorted(states) == ["cancelled", "cancelled", "cancelled", "done"]


def test_tasks_that_nobody_waits_for_say_what_they_come_after(
    three: tuple[list[Task], Need], tmp_path: Path
) -> None:
    engine = Engine([None], ["a"], ["b"], ["c"])
    submit_elsewhere(three[0], engine, "script", tmp_path / "tasks", [three[1]])
    first, *others = engine.tasks
    assert first.prepares
    assert [one.after for one in others] == [(first.id,), (), (first.id,)]
