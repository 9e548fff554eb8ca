"""The law of packs for lanes that join late: each trains as it does alone, from its own start."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from adapterlab.adapters import AdaptedModel
from adapterlab.base.errors import AdapterLabError
from adapterlab.packing import share_frozen
from adapterlab.runs.assembly import Assembly, assemble
from adapterlab.runs.single import run
from adapterlab.training.fit import fit
from adapterlab.training.hardware import choose_device
from adapterlab.training.outcome import Training
from adapterlab.training.packed.fit import Fitting, Joining, Left, fit_pack
from adapterlab.training.packed.lane import LaneProgress, LaneTask, load_lane
from lab import tiny

BOUND = 1e-12
"""In float64; see `lanes_law`."""

FIXED = (
    "hardware.precision=64-true", "base.epochs=1", "epochs=4", "limit=128", "batch_size=32",
    "model.dropout=0.1", "study=joining",
)  # fmt: skip

MIXED = (
    "adapter=lora adapter.rank=2 optimizer.lr=0.02",
    "adapter=lora adapter.rank=5 adapter.alpha=3 adapter.dropout=0.2 seed=1",
    "adapter=full optimizer.lr=0.003 optimizer.schedule=cosine optimizer.warmup=0.2",
    "adapter=dora adapter.rank=3 order_seed=4 optimizer.clip_norm=0.5",
    "adapter=lora adapter.rank=1 optimizer.schedule=plateau optimizer.plateau_patience=0",
    "adapter=adalora adapter.rank=2 seed=3",
    "adapter=dora adapter.rank=6 optimizer.schedule=linear",
    "adapter=full optimizer.lr=0.001 order_seed=1",
    "adapter=lora adapter.rank=2 optimizer.lr=0.02 init_seed=5",
)


class StoppedError(AdapterLabError):
    """Somebody outside has decided that a lane ends."""


class Runs:
    """Runs over one base, as tasks of lanes."""

    def __init__(self, root: Path, files: Path, *each: str) -> None:
        self.files = files
        self.configs = [tiny(root, *FIXED, *one.split()) for one in each]
        self.device = choose_device(self.configs[0].hardware)

    def assembled(self) -> list[Assembly]:
        like: Assembly | None = None
        found = []
        for config in self.configs:
            found.append(assemble(config, train=run, like=like))
            like = like or found[0]
        share_frozen([one.adapted for one in found])
        return found

    def tasks(self, where: str) -> list[LaneTask]:
        self.of = self.assembled()
        return [
            LaneTask(config, one.adapted, self.folder(where, n), lambda epoch, metrics: None)
            for n, (config, one) in enumerate(zip(self.configs, self.of, strict=True))
        ]

    def folder(self, where: str, number: int) -> Path:
        return self.files / where / str(number)

    def alone(self, number: int) -> tuple[Training, AdaptedModel]:
        """Train a run as it is trained where there is no pack."""
        config = self.configs[number]
        own = assemble(config, train=run)
        training = fit(
            config, own.adapted, own.data, num_classes=len(own.data.classes), title="alone",
            device=self.device, folder=self.folder("alone", number),
            report=lambda epoch, metrics: None,
        )  # fmt: skip
        return training, own.adapted

    def fitting(self, **more: object) -> Fitting:
        data = self.of[0].data
        return Fitting(data, num_classes=len(data.classes), device=self.device, **more)  # type: ignore[arg-type]


def stopping(when: dict[int, int], tasks: Sequence[LaneTask]):  # type: ignore[no-untyped-def]
    """Return a judge that stops lanes after an epoch of their own."""
    numbers = {id(task): number for number, task in enumerate(tasks)}

    def judge(lanes: Sequence[tuple[LaneTask, LaneProgress]]) -> None:
        for task, progress in lanes:
            if when.get(numbers[id(task)]) == progress.epochs:
                progress.error = StoppedError("enough")

    return judge


def in_turn(
    runs: Runs, tasks: Sequence[LaneTask], lanes: int, when: dict[int, int]
) -> tuple[dict[int, Training | Exception], Fitting]:
    """Train tasks in so many lanes; the next one takes the place of one that ends."""
    numbers = {id(task): number for number, task in enumerate(tasks)}
    waiting = list(tasks[lanes:])
    outcomes: dict[int, Training | Exception] = {}

    def relieve(left: Sequence[Left]) -> list[Joining]:
        outcomes.update((numbers[id(one.task)], one.outcome) for one in left)
        return [Joining(waiting.pop(0)) for _ in left[: len(waiting)]]

    fitting = runs.fitting(judge=stopping(when, tasks), epochs=4 * len(tasks))
    fitting.fit([Joining(task) for task in tasks[:lanes]], relieve)
    return outcomes, fitting


def require_as_alone(runs: Runs, number: int, outcome: Training | Exception) -> None:
    assert isinstance(outcome, Training)
    expected, model = runs.alone(number)
    assert outcome.best_epoch == expected.best_epoch
    assert outcome.history.keys() == expected.history.keys()
    for epoch, metrics in expected.history.items():
        assert outcome.history[epoch] == pytest.approx(metrics, rel=BOUND, abs=BOUND), (
            number,
            epoch,
        )
    state = runs.of[number].adapted.state()
    for name, tensor in model.state().items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("prefix", ["auto", "never"])
def test_lanes_that_join_late_train_as_alone(lab_root: Path, tmp_path: Path, prefix: str) -> None:
    """Several methods, ranks, orders, schedules; some are stopped, others take their places."""
    runs = Runs(lab_root, tmp_path, *(f"{one} hardware.frozen_prefix={prefix}" for one in MIXED))
    tasks = runs.tasks("joined")
    outcomes, fitting = in_turn(runs, tasks, 3, {0: 1, 3: 2, 4: 3})
    assert sorted(outcomes) == list(range(len(MIXED)))
    assert fitting.joins >= 4
    assert [number for number, one in outcomes.items() if isinstance(one, StoppedError)] == [
        0,
        3,
        4,
    ]
    for number in (1, 2, 5, 6, 7, 8):
        require_as_alone(runs, number, outcomes[number])


def test_what_is_stopped_has_been_saved_and_goes_on_as_if_it_had_not_been(
    lab_root: Path, tmp_path: Path
) -> None:
    """Its last epoch is in its checkpoint; going on from there beside others is as alone."""
    runs = Runs(lab_root, tmp_path, *MIXED[:4])
    tasks = runs.tasks("stopped")
    in_turn(runs, tasks, 2, {0: 1, 3: 3})
    again = runs.tasks("stopped")
    saved = {n: load_lane(again[n].folder, again[n].model.state()) for n in (0, 3)}
    assert {n: one.progress.epochs for n, one in saved.items() if one} == {0: 1, 3: 3}
    training = fit_pack(
        [again[0], again[3]], runs.of[0].data, saved=[saved[0], saved[3]],
        num_classes=len(runs.of[0].data.classes), device=runs.device,
    )  # fmt: skip
    for number, outcome in zip((0, 3), training.lanes, strict=True):
        require_as_alone(runs, number, outcome)


def test_a_pack_that_is_killed_between_joins_goes_on(lab_root: Path, tmp_path: Path) -> None:
    """Lanes that have come unequally far are one pack again, beside one that begins."""
    runs = Runs(lab_root, tmp_path, *MIXED[:3], MIXED[6])
    tasks = runs.tasks("killed")
    seen: list[int] = []

    def step(lanes: int) -> None:
        seen.append(lanes)
        if len(seen) == 15:  # in the fourth epoch of the pack
            raise KeyboardInterrupt

    waiting = [tasks[2]]
    fitting = runs.fitting(judge=stopping({0: 1}, tasks), epochs=16, on_step=step)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(
            [Joining(task) for task in tasks[:2]],
            lambda left: [Joining(waiting.pop(0)) for _ in left[: len(waiting)]],
        )
    again = runs.tasks("killed")
    joining = [
        Joining(again[n], load_lane(again[n].folder, again[n].model.state())) for n in (1, 2, 3)
    ]
    assert [one.saved and one.saved.progress.epochs for one in joining] == [3, 2, None]
    outcomes: dict[int, Training | Exception] = {}
    numbers = {id(task): number for number, task in enumerate(again)}

    def relieve(left: Sequence[Left]) -> list[Joining]:
        outcomes.update((numbers[id(one.task)], one.outcome) for one in left)
        return []

    runs.fitting(epochs=16).fit(joining, relieve)
    for number in (1, 2, 3):
        require_as_alone(runs, number, outcomes[number])
