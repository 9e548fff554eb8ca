"""Training a pack with Lightning's Trainer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapterlab.data.batches import SplitDataModule
from adapterlab.hardware import Device
from adapterlab.packing import PackedModel
from adapterlab.training.classifier import TrainingDivergedError
from adapterlab.training.fit import Training, interrupts, make_trainer, quieten
from adapterlab.training.lane import LaneProgress, LaneTask, SavedLane
from adapterlab.training.pack_data import PackData
from adapterlab.training.packed_classifier import OnStep, PackedClassifier


@dataclass(frozen=True)
class PackTraining:
    """What came of the training of a pack.

    Attributes:
        lanes: of each what came of it, or why it was given up.
        seconds: wall time of the whole pack, validation included.
        samples_per_second: of all lanes together, without warm-up and validation; None where it
            was not measured.
    """

    lanes: list[Training | TrainingDivergedError]
    seconds: float
    samples_per_second: float | None

    def training(self, lane: int) -> Training:
        """Return what came of a lane.

        Raises:
            TrainingDivergedError: it was given up.
        """
        outcome = self.lanes[lane]
        if isinstance(outcome, TrainingDivergedError):
            raise outcome
        return outcome


def fit_pack(
    tasks: Sequence[LaneTask],
    data: Sequence[SplitDataModule[Any, Any]],
    streams: Sequence[int],
    *,
    saved: Sequence[SavedLane | None],
    num_classes: int,
    device: Device,
    on_step: OnStep = lambda lanes: None,
) -> PackTraining:
    """Train lanes together and leave each model with the parameters of its best epoch.

    A lane that has ended, or whose loss is no longer a number, leaves the others alone.

    Args:
        tasks: the lanes; see `adapterlab.packing.signature` for what they must have in common.
        data: a data module for each order of training batches.
        streams: which of them each lane reads, in ascending order.
        saved: what each lane goes on from; all have come equally far.
        num_classes: of the target task.
        device: where to compute.
        on_step: called after every step with the number of lanes that took it.
    """
    progress = [lane.progress if lane else LaneProgress() for lane in saved]
    active = [i for i, lane in enumerate(progress) if not lane.has_ended(tasks[i].config)]
    seconds, rate = 0.0, None
    if active:
        read = sorted({streams[i] for i in active})
        seconds, rate = _train(
            [tasks[i] for i in active],
            [data[stream] for stream in read],
            [read.index(streams[i]) for i in active],
            [progress[i] for i in active],
            [saved[i] for i in active],
            num_classes,
            device,
            on_step,
        )
    outcomes = [_outcome(task, lane) for task, lane in zip(tasks, progress, strict=True)]
    return PackTraining(outcomes, seconds, rate)


def _train(
    tasks: Sequence[LaneTask],
    data: Sequence[SplitDataModule[Any, Any]],
    streams: Sequence[int],
    progress: Sequence[LaneProgress],
    saved: Sequence[SavedLane | None],
    num_classes: int,
    device: Device,
    on_step: OnStep,
) -> tuple[float, float | None]:
    """Train lanes that have not ended; return the seconds, and the samples a second."""
    quieten()
    pack = PackedModel([task.model for task in tasks], streams)
    for number, lane in enumerate(saved):
        if lane is not None:
            pack.load_lane(number, lane.state)
    pack.to(device.torch)
    first = progress[0].epochs
    module = PackedClassifier(
        pack,
        tasks,
        progress,
        num_classes,
        data[0].steps,
        [lane.optimizer for lane in saved if lane],
        on_step,
    )
    epochs = tasks[0].config.epochs - first
    trainer = make_trainer(device, max_epochs=epochs, enable_checkpointing=False)
    start = time.perf_counter()
    with interrupts():
        trainer.fit(module, datamodule=PackData(data, first, device.torch))
    seconds = time.perf_counter() - start
    return seconds, module.samples / module.sampling_seconds if module.samples else None


def _outcome(task: LaneTask, progress: LaneProgress) -> Training | TrainingDivergedError:
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
