"""Training a pack, and what comes of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from adapterlab.data.batches import AnyBatches
from adapterlab.packing import PackedModel, signature
from adapterlab.training.checkpoints import restoring
from adapterlab.training.first_values import set_first_values
from adapterlab.training.hardware import Device
from adapterlab.training.outcome import Training
from adapterlab.training.packed.begun_alone import gone_on_from
from adapterlab.training.packed.lane import LaneProgress, LaneTask, SavedLane
from adapterlab.training.packed.shares import shares
from adapterlab.training.packed.trainer import OnStep, PackTrainer


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


def fit_pack(
    tasks: Sequence[LaneTask],
    data: AnyBatches,
    *,
    saved: Sequence[SavedLane | None],
    num_classes: int,
    device: Device,
    on_step: OnStep = lambda lanes: None,
) -> PackTraining:
    """Train lanes together and leave each model with the parameters of its best epoch.

    A lane that has ended, whose loss is no longer a number, or whose own files or reports fail,
    leaves the others alone.

    Args:
        tasks: the lanes; see `adapterlab.packing.PackedModel` for their order, and
            `adapterlab.packing.signature` for what they must have in common.
        data: of any of them.
        saved: what each lane goes on from; all have come equally far.
        num_classes: of the target task.
        device: where to compute.
        on_step: called after every step with the number of lanes that took it.
    """
    progress = [lane.progress if lane else LaneProgress() for lane in saved]
    start = time.perf_counter()
    for task, own, before in zip(tasks, progress, saved, strict=True):
        if before is None:
            with own.alone(), own.taking_time():
                set_first_values(task.config, task.model, data, device)
    active = [i for i, lane in enumerate(progress) if not lane.has_ended(tasks[i].config)]
    seconds, rate, known = 0.0, None, ""
    if active:
        seeds = [tasks[i].config.order_seed for i in active]
        models = [tasks[i].model for i in active]
        signatures = [signature(model) for model in models]
        pack = PackedModel(models, seeds, signatures)
        going_on = [one for i in active if (one := saved[i]) is not None]
        for number, lane in enumerate(going_on):
            pack.load_lane(number, lane.state)
        checkpoint = gone_on_from(tasks[active[0]].folder) if going_on else None
        with restoring(checkpoint, lambda: False):
            trainer = PackTrainer(
                pack.to(device.torch).train(),
                [tasks[i] for i in active],
                [progress[i] for i in active],
                data,
                num_classes=num_classes,
                device=device,
                optimizer_states=[lane.optimizer for lane in going_on],
                shares=shares(models, data, device, signatures),
                on_step=on_step,
            )
        trainer.train()
        seconds, rate = time.perf_counter() - start, trainer.samples_per_second
        known = trainer.known
    outcomes = [_outcome(task, lane) for task, lane in zip(tasks, progress, strict=True)]
    return PackTraining(outcomes, seconds, rate, known)


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
