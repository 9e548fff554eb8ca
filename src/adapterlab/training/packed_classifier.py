"""The LightningModule of a pack: as many trainings at once as it has lanes."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.config import Config
from adapterlab.packing import PackedModel
from adapterlab.seeding import stream
from adapterlab.training.callbacks import WARM_UP_STEPS, now
from adapterlab.training.classifier import LabelledBatch
from adapterlab.training.lane import LaneProgress, LaneTask, save_lane
from adapterlab.training.lane_optimizers import LaneOptimizer
from adapterlab.training.pack_data import PackBatch, PackData
from adapterlab.training.tally import LaneTally

OnStep = Callable[[int], None]
"""Takes the number of lanes that have just taken a step."""


class PackedClassifier(pl.LightningModule):
    """Cross-entropy training of the lanes of a pack.

    Every lane has its own optimizer options, random streams, history, best epoch and end, as
    `Classifier` and its callbacks have for a run alone. A lane that has ended leaves the pack.

    Args:
        pack: what is trained.
        tasks: of its lanes, in their order.
        progress: likewise; filled in.
        num_classes: classes of the task.
        steps: training batches of an epoch.
        optimizer_states: of the lanes, where the training goes on.
        on_step: called after every step.
    """

    automatic_optimization = False

    def __init__(
        self,
        pack: PackedModel,
        tasks: Sequence[LaneTask],
        progress: Sequence[LaneProgress],
        num_classes: int,
        steps: int,
        optimizer_states: Sequence[dict[str, Any]],
        on_step: OnStep,
    ) -> None:
        super().__init__()
        self.pack, self.tasks, self.progress = pack, list(tasks), list(progress)
        self.num_classes, self.steps, self.on_step = num_classes, steps, on_step
        self.first_epoch = progress[0].epochs
        self.smoothing = tasks[0].config.label_smoothing
        self.samples, self.sampling_seconds = 0, 0.0
        self._states = list(optimizer_states)
        self._taken = 0
        self._tallies(pack.count)

    def configure_optimizers(self) -> Any:
        """Set up the lanes' optimizer."""
        self.optimizer = LaneOptimizer(
            self.pack,
            [task.config.optimizer for task in self.tasks],
            total=self.steps * self._config.epochs,
            steps=self.steps * self.first_epoch,
            states=self._states,
        )
        return self.optimizer.torch

    def on_train_epoch_start(self) -> None:
        """Start this epoch's random streams, those of a run alone."""
        epoch = self.first_epoch + self.current_epoch
        seeds = [stream(task.config.init_seed, "training") for task in self.tasks]
        self.pack.reseed(
            [stream(seed, "epoch", epoch) for seed in seeds],
            [stream(seed, "dropout", epoch) for seed in seeds],
        )
        self.train_tally.reset()
        self._of_lanes = torch.tensor(self.pack.lanes.read, device=self.device)
        self._epoch_start = time.perf_counter()

    def training_step(self, batches: Iterator[PackBatch], index: int) -> None:
        """Take a step on each of some batches."""
        start = now(self) if self._taken >= WARM_UP_STEPS else None
        samples = 0
        for batch in batches:
            self._step(batch)
            samples += batch.rows * self.pack.count
            self._taken += 1
            self.on_step(self.pack.count)
        if start is not None:
            self.samples += samples
            self.sampling_seconds += now(self) - start

    def _step(self, batch: PackBatch) -> None:
        logits = self.pack(batch.inputs, batch.rows)
        labels = batch.labels[self._of_lanes]
        losses = _losses(logits, labels, self.smoothing)
        self.train_tally.add(logits, labels, losses)
        self.manual_backward(losses.sum())
        self.optimizer.step()

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.val_tally.reset()

    def validation_step(self, batch: LabelledBatch, batch_index: int) -> None:
        """Count a batch, which all lanes share."""
        logits = self.pack(batch.inputs, len(batch.labels), together=True)
        labels = batch.labels.expand(self.pack.count, -1)
        self.val_tally.add(logits, labels, _losses(logits, labels))

    def on_train_epoch_end(self) -> None:
        """Tell every lane how its epoch went, save it, and go on with those that have not ended."""
        lanes = range(self.pack.count)
        train, val = self.train_tally.compute(), self.val_tally.compute()
        seconds = (time.perf_counter() - self._epoch_start) / self.pack.count
        for lane, task, progress in zip(lanes, self.tasks, self.progress, strict=True):
            metrics = {f"train/{name}": value for name, value in train[lane].items()}
            metrics |= {f"val/{name}": value for name, value in val[lane].items()}
            metrics["train/lr"] = self.optimizer.rate(lane)
            progress.seconds += seconds
            progress.end_epoch(task, metrics, self.pack.lane_state(lane))
        self.optimizer.end_epoch([metrics["loss"] for metrics in val])
        going_on = []
        for lane, task, progress in zip(lanes, self.tasks, self.progress, strict=True):
            if progress.error is None:
                state, optimizer = self.pack.lane_state(lane), self.optimizer.lane_state(lane)
                save_lane(task.folder, progress, state, optimizer)
            if not progress.has_ended(task.config):
                going_on.append(lane)
        if not going_on:
            self.trainer.should_stop = True
        elif len(going_on) < self.pack.count:
            self._keep(going_on)

    def _keep(self, lanes: Sequence[int]) -> None:
        data = cast(PackData, self.trainer.datamodule)  # type: ignore[attr-defined]
        data.keep({self.pack.lanes.read[lane] for lane in lanes})
        self.optimizer.keep(lanes)
        self.trainer.optimizers = [self.optimizer.torch]
        self.tasks = [self.tasks[lane] for lane in lanes]
        self.progress = [self.progress[lane] for lane in lanes]
        self._tallies(len(lanes))

    def _tallies(self, lanes: int) -> None:
        device = next(self.pack.parameters()).device
        self.train_tally = LaneTally(self.num_classes, lanes).to(device)
        self.val_tally = LaneTally(self.num_classes, lanes).to(device)

    @property
    def _config(self) -> Config:
        return self.tasks[0].config


def _losses(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return each lane's mean loss, [K], from logits [K, B, C] and labels [K, B]."""
    flat = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing, reduction="none"
    )
    return flat.view(labels.shape).mean(1)
