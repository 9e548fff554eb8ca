"""Training a pack, and what comes of it; lanes that end may give their places to others."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from adapterlab.data.batches import AnyBatches
from adapterlab.packing import PackedModel, signature
from adapterlab.packing.signatures import Signature
from adapterlab.training.checkpoints import restoring
from adapterlab.training.first_values import set_first_values
from adapterlab.training.hardware import Device
from adapterlab.training.outcome import Training
from adapterlab.training.packed.begun_alone import gone_on_from
from adapterlab.training.packed.first_products import FirstProducts
from adapterlab.training.packed.lane import LaneProgress, LaneTask, SavedLane
from adapterlab.training.packed.shares import shares
from adapterlab.training.packed.trainer import Judge, OnStep, PackTrainer, order_of


@dataclass(frozen=True)
class PackTraining:
    """What came of the training of a pack.

    Attributes:
        lanes: of each what came of it, or why it was given up.
        seconds: wall time of the whole pack, validation included.
        samples_per_second: of all lanes together, without warm-up and validation; None where it
            was not measured.
        known: what was kept of the first layer, in words; empty where nothing was.
    """

    lanes: list[Training | Exception]
    seconds: float
    samples_per_second: float | None
    known: str = ""

    def training(self, lane: int) -> Training:
        """Return what came of a lane.

        Raises:
            TrainingDivergedError: its loss is no longer a number.
            Exception: whatever else went wrong with this lane, a file that was not written, say.
        """
        outcome = self.lanes[lane]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@dataclass(frozen=True)
class Joining:
    """A lane that joins a pack.

    Attributes:
        task: what is trained.
        saved: what it goes on from; None for one that begins.
    """

    task: LaneTask
    saved: SavedLane | None = None


@dataclass(frozen=True)
class Left:
    """A lane that has left its pack.

    Attributes:
        task: of the lane, whose model has the parameters of its best epoch if it has ended well.
        outcome: what came of it, or why it was given up.
    """

    task: LaneTask
    outcome: Training | Exception


Relieve = Callable[[Sequence[Left]], Sequence[Joining]]
"""Takes lanes that have left at the end of an epoch; returns those that join in their places."""


def fit_pack(
    tasks: Sequence[LaneTask],
    data: AnyBatches,
    *,
    saved: Sequence[SavedLane | None],
    num_classes: int,
    device: Device,
    on_step: OnStep = lambda lanes: None,
    judge: Judge | None = None,
) -> PackTraining:
    """Train lanes together and leave each model with the parameters of its best epoch.

    A lane that has ended, whose loss is no longer a number, or whose own files or reports fail,
    leaves the others alone, and is told so by its task.

    Args:
        tasks: the lanes; see `adapterlab.packing.PackedModel` for their order, and
            `adapterlab.packing.signature` for what they must have in common.
        data: of any of them.
        saved: what each lane goes on from; on texts all have come equally far.
        num_classes: of the target task.
        device: where to compute.
        on_step: called after every step with the number of lanes that took it.
        judge: decides which lanes are stopped, see `PackTrainer`.
    """
    outcomes: dict[int, Training | Exception] = {}

    def relieve(left: Sequence[Left]) -> Sequence[Joining]:
        outcomes.update((id(one.task), one.outcome) for one in left)
        if len(outcomes) < len(tasks):
            for one in left:
                try:
                    one.task.ended()
                except Exception as error:  # the other lanes go on
                    if not isinstance(one.outcome, Exception):
                        outcomes[id(one.task)] = error
        return ()

    fitting = Fitting(data, num_classes=num_classes, device=device, on_step=on_step, judge=judge)
    fitting.fit([Joining(*lane) for lane in zip(tasks, saved, strict=True)], relieve)
    lanes = [outcomes[id(task)] for task in tasks]
    return PackTraining(lanes, fitting.seconds, fitting.samples_per_second, fitting.known)


@dataclass
class Fitting:
    """Trains lanes together, and others in the places of those that leave.

    A lane that joins late trains as it does alone: from the first epoch of its own, in its own
    order of data, with its own draws and rates; only its company differs from epoch to epoch.

    Args:
        data: of any of the lanes.
        num_classes: of the target task.
        device: where to compute.
        on_step: called after every step with the number of lanes that took it.
        judge: decides which lanes are stopped, see `PackTrainer`.
        epochs: that all lanes together take at most, one after the other; None if none joins.

    Attributes:
        seconds, samples_per_second, known: see `PackTraining`.
        joins: how often lanes have joined others.
    """

    data: AnyBatches
    num_classes: int
    device: Device
    on_step: OnStep = lambda lanes: None
    judge: Judge | None = None
    epochs: int | None = None

    seconds: float = field(default=0.0, init=False)
    samples_per_second: float | None = field(default=None, init=False)
    known: str = field(default="", init=False)
    joins: int = field(default=0, init=False)
    _measured: dict[object, float] = field(default_factory=dict, init=False)
    _before: FirstProducts | None = field(default=None, init=False)

    def fit(self, first: Sequence[Joining], relieve: Relieve) -> None:
        """Train until all lanes have left, and no other joins.

        Args:
            first: the lanes to begin with; see `fit_pack` for their order.
            relieve: is told of lanes that leave, and says who joins in their places.
        """
        start = time.perf_counter()
        staying: list[_Lane] = []
        joining: Sequence[Joining] = first
        while joining or staying:
            self.joins += bool(staying)
            came = [self._prepared(one) for one in joining]
            over = [lane for lane in came if lane.has_ended]
            staying = [*staying, *(lane for lane in came if not lane.has_ended)]
            if over:  # at once: an earlier process may have trained it to its end
                joining = relieve([lane.left() for lane in over])
                if joining:
                    continue
            joining = ()
            if staying:
                staying, joining = self._together(_side_by_side(staying), relieve)
        self.seconds = time.perf_counter() - start

    def _together(
        self, lanes: Sequence["_Lane"], relieve: Relieve
    ) -> tuple[list["_Lane"], Sequence[Joining]]:
        """Train lanes until others join; return those that stay then, and those that join."""
        trainer = self._trainer(lanes)
        self.known = trainer.known
        while True:
            going_on = trainer.train_epoch()
            now = trainer.lanes
            ended = [_Lane(*now[k]).left() for k in range(len(now)) if k not in set(going_on)]
            joining = relieve(ended) if ended else ()
            if joining or not going_on:
                self.samples_per_second = trainer.samples_per_second
                self._before = trainer.batches
                return [_Lane(*now[k], trainer.saved_lane(k)) for k in going_on], joining
            trainer.keep(going_on)

    def _prepared(self, joining: Joining) -> "_Lane":
        """Return a lane, with its first values where it begins."""
        task, saved = joining.task, joining.saved
        if saved is not None:
            with saved.progress.alone():
                for epoch, metrics in sorted(saved.progress.history.items()):
                    task.report(epoch, metrics)  # a killed process may not have told of them
            return _Lane(task, saved.progress, saved)
        progress = LaneProgress()
        with progress.alone(), progress.taking_time():
            set_first_values(task.config, task.model, self.data, self.device)
        return _Lane(task, progress)

    def _trainer(self, lanes: Sequence["_Lane"]) -> PackTrainer:
        models, kinds = [lane.task.model for lane in lanes], [lane.kind for lane in lanes]
        pack = PackedModel(models, [order_of(lane.task, lane.progress) for lane in lanes], kinds)
        for number, lane in enumerate(lanes):
            if lane.saved is not None:
                pack.load_lane(number, lane.saved.state)
        from_file = next((lane.task.folder for lane in lanes if lane.saved is not None), None)
        checkpoint = None if from_file is None else gone_on_from(from_file)
        with restoring(checkpoint, lambda: False):
            return PackTrainer(
                pack.to(self.device.torch).train(),
                [lane.task for lane in lanes],
                [lane.progress for lane in lanes],
                self.data,
                num_classes=self.num_classes,
                device=self.device,
                optimizer_states=[
                    None if lane.saved is None else lane.saved.optimizer for lane in lanes
                ],
                shares=shares(models, self.data, self.device, self._measured, kinds),
                on_step=self.on_step,
                judge=self.judge,
                epochs=self.epochs,
                before=self._before,
            )


@dataclass(frozen=True)
class _Lane:
    """A lane, how far it has come, and what it goes on from in the next pack."""

    task: LaneTask
    progress: LaneProgress
    saved: SavedLane | None = None

    @cached_property
    def kind(self) -> Signature:
        """How it is adapted: asked for often, and each time all of its modules are looked at."""
        return signature(self.task.model)

    @property
    def has_ended(self) -> bool:
        return self.progress.has_ended(self.task.config)

    def left(self) -> Left:
        return Left(self.task, _outcome(self.task, self.progress))


def _side_by_side(lanes: Sequence[_Lane]) -> list[_Lane]:
    """Have lanes beside each other that are adapted alike, and among them those of one order."""
    kinds = list(dict.fromkeys(lane.kind for lane in lanes))
    return sorted(lanes, key=lambda one: (kinds.index(one.kind), *order_of(one.task, one.progress)))


def _outcome(task: LaneTask, progress: LaneProgress) -> Training | Exception:
    if progress.error is not None:
        return progress.error
    task.model.model.load_state_dict(progress.best_state, strict=False)
    return Training(
        history=progress.history,
        best_epoch=progress.best_epoch,
        seconds=progress.seconds,
        samples_per_second=None,
        why="trained in a pack",
    )
