"""The training loop of a pack: as many trainings at once as it has lanes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters.anchors import shared_anchors
from adapterlab.adapters.hooks import Moment
from adapterlab.base.seeding import stream
from adapterlab.base.signals import end_if_signalled
from adapterlab.data.batches import AnyBatches, Order
from adapterlab.packing import PackedModel
from adapterlab.training.hardware import Device, autocast
from adapterlab.training.losses import training_loss
from adapterlab.training.optimizers import settings_of
from adapterlab.training.packed.first_products import FirstProducts, Given
from adapterlab.training.packed.lane import LaneProgress, LaneTask, SavedLane, save_lane
from adapterlab.training.packed.optimizers import LaneOptimizer
from adapterlab.training.selection import watched
from adapterlab.training.tally import LaneTally, ScoreTally, lane_tally
from adapterlab.training.throughput import Throughput
from adapterlab.training.training_state import metrics_of, settling

OnStep = Callable[[int], None]
"""Takes the number of lanes that have just taken a step."""

Judge = Callable[[Sequence[tuple[LaneTask, LaneProgress]]], None]
"""Takes all lanes after an epoch, which are saved; gives those that are to stop an error."""


def order_of(task: LaneTask, progress: LaneProgress) -> Order:
    """Return the order in which a lane reads the training rows in its next epoch."""
    return task.config.order_seed, progress.epochs


class PackTrainer:
    """Training of the lanes of a pack.

    Every lane has its own optimizer options, random streams, history, best epoch and end, as
    `Classifier` and its callbacks have for a run alone. Lanes need not have come equally far: each
    is in an epoch of its own, with the order, the draws and the rates of that. A lane that has
    ended leaves the pack, see `keep`; others join it in a new one, which goes on from `saved_lane`.

    A plain loop: a step of many small lanes takes no longer than what Lightning's Trainer does
    around it, and to import Lightning takes longer than to train them.

    Args:
        pack: what is trained; it is on its device.
        tasks: of its lanes, in their order.
        progress: likewise; filled in.
        data: of any of the runs; each lane reads the training batches in its own order. Texts are
            read in one: such lanes have come equally far.
        num_classes: classes of the task.
        device: where it computes, and in what precision.
        optimizer_states: of the lanes that go on; None for one that begins.
        shares: what each lane has of the pack's time, relative to the others.
        on_step: called after every step.
        judge: decides at the end of an epoch which lanes are stopped; None stops none.
        epochs: that are left to whoever may be trained with these or after them; None for those
            of the lanes.
        before: of the pack that lanes come from, if they do; see `FirstProducts`.
    """

    def __init__(
        self,
        pack: PackedModel,
        tasks: Sequence[LaneTask],
        progress: Sequence[LaneProgress],
        data: AnyBatches,
        *,
        num_classes: int,
        device: Device,
        optimizer_states: Sequence[dict[str, Any] | None],
        shares: Sequence[float],
        on_step: OnStep,
        judge: Judge | None = None,
        epochs: int | None = None,
        before: FirstProducts | None = None,
    ) -> None:
        self.pack, self.tasks, self.progress, self.data = pack, list(tasks), list(progress), data
        self.num_classes, self.device, self.on_step = num_classes, device, on_step
        self.judge, self._shares = judge, list(shares)
        self._throughput = Throughput()
        self._find_hooks()
        self._loss = training_loss(tasks[0].config, data.splits["train"].labels, data.classes)
        self._plain = self._loss.plain()
        options = [task.config.optimizer for task in tasks]
        self._optimizer = LaneOptimizer(
            pack,
            options,
            [settings_of(task.model, task.config.optimizer) for task in tasks],
            allow=tasks[0].config.allow_targets,
            total=data.steps * tasks[0].config.epochs,
            steps=[data.steps * lane.epochs for lane in progress],
            states=optimizer_states,
        )
        wanted = tasks[0].config.hardware.frozen_prefix != "never"
        if epochs is None:
            least = min(lane.epochs for lane in progress)
            epochs = max(task.config.epochs for task in tasks) - least
        self.batches = FirstProducts(pack, data, device, epochs if wanted else 0, before)

    @property
    def samples_per_second(self) -> float | None:
        """Of all lanes together, without warm-up and validation; None where it was not measured."""
        return self._throughput.samples_per_second

    @property
    def known(self) -> str:
        """Say what is kept of the first layer; nothing where nothing is."""
        return self.batches.described()

    @property
    def lanes(self) -> list[tuple[LaneTask, LaneProgress]]:
        """The lanes, and how far they have come."""
        return list(zip(self.tasks, self.progress, strict=True))

    def train_epoch(self) -> list[int]:
        """Train every lane for an epoch; return those that have not ended with it."""
        start = time.perf_counter()
        train = self._train_epoch()
        validation = self._validate()
        return self._end_epoch(train, validation, time.perf_counter() - start)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes, at least one."""
        if len(lanes) == self.pack.count:
            return
        self._optimizer.keep(lanes)
        self.batches.begin()
        self.tasks = [self.tasks[lane] for lane in lanes]
        self.progress = [self.progress[lane] for lane in lanes]
        self._shares = [self._shares[lane] for lane in lanes]
        self._find_hooks()

    def saved_lane(self, lane: int) -> SavedLane:
        """Return what a lane goes on from in another pack."""
        state = {name: own.clone() for name, own in self.pack.lane_state(lane).items()}
        return SavedLane(self.progress[lane], state, self._optimizer.lane_state(lane))

    def _train_epoch(self) -> list[dict[str, float]]:
        """Take a step on every batch; return each lane's metrics."""
        # The random streams of this epoch are those of a run alone.
        seeds = [stream(task.config.init_seed, "training") for task in self.tasks]
        epochs = [lane.epochs for lane in self.progress]
        self.pack.reseed(
            [stream(seed, "epoch", own) for seed, own in zip(seeds, epochs, strict=True)],
            [stream(seed, "dropout", own) for seed, own in zip(seeds, epochs, strict=True)],
        )
        tally = self._tally(training=True)
        orders = list(dict.fromkeys(order_of(*lane) for lane in self.lanes))
        of_lanes = torch.tensor(self.pack.lanes.read, device=self.device.torch)
        for batch in self.batches.training_batches(orders):
            end_if_signalled()
            self._throughput.begin_step(self.device.torch)
            labels = batch.labels.view(len(orders), -1, *batch.labels.shape[1:])
            self._step(batch, labels[of_lanes], tally)
            self._throughput.end_step(labels.shape[1] * self.pack.count)
            self.on_step(self.pack.count)
        self._throughput.pause(self.device.torch)
        return tally.compute()

    def _step(self, batch: Given, labels: Tensor, tally: LaneTally | ScoreTally) -> None:
        """Train on a batch of every stream; labels are the lanes', ``[K, B]``."""
        with autocast(self.device.torch, self.device.precision):
            logits = self.pack(batch.inputs, labels.shape[1], known=batch.known)
            losses = self._loss.of_lanes(logits, labels)
        tally.add(logits, labels, losses)
        loss = losses.sum()
        for lane, strategy in self._adding:
            if (extra := strategy.extra_loss(self._moment(lane))) is not None:
                loss = loss + extra
        loss.backward()  # type: ignore[no-untyped-call]
        for lane, strategy in self._looking:
            with torch.no_grad():
                strategy.after_backward(self._moment(lane, with_gradients=True))
        with torch.no_grad():  # whose gradients are gone after the step
            moments = [(s, self._moment(k, with_gradients=True)) for k, s in self._following]
        self._optimizer.step()
        for strategy, moment in moments:
            with torch.no_grad():
                strategy.after_step(replace(moment, step=moment.step + 1))

    def _find_hooks(self) -> None:
        """Remember which lanes have a way of training of their own; most packs have none."""
        strategies = [(lane, task.model.strategy) for lane, task in enumerate(self.tasks)]
        self._adding = [one for one in strategies if one[1].uses("extra_loss")]
        self._looking = [one for one in strategies if one[1].uses("after_backward")]
        self._following = [one for one in strategies if one[1].uses("after_step")]
        models = [task.model for task in self.tasks]
        self._anchors = shared_anchors(models, self.device.torch)

    def _moment(self, lane: int, *, with_gradients: bool = False) -> Moment:
        """Return a lane's step, as a run alone has it."""
        return Moment(
            step=self._optimizer.steps[lane],
            total=self._optimizer.total,
            parameters=self.pack.lane_parameters(lane),
            gradients=self.pack.lane_gradients(lane) if with_gradients else {},
            frozen=self.pack.lane_frozen(lane),
            base=self._anchors[lane],
        )

    @torch.inference_mode()
    def _validate(self) -> list[dict[str, float]]:
        """Return each lane's metrics on the validation split, which all lanes share."""
        tally = self._tally(training=False)
        in_training = [module for module in self.pack.modules() if module.training]
        watched_by = [watched(task.config.select_on, self.data.classes) for task in self.tasks]
        if isinstance(tally, LaneTally) and any(watched_by):
            tally.watch(watched_by)
        self.pack.eval()
        for batch in self.batches.validation_batches():
            labels = batch.labels.expand(self.pack.count, *batch.labels.shape)
            with autocast(self.device.torch, self.device.precision):
                logits = self.pack(
                    batch.inputs, len(batch.labels), together=True, known=batch.known
                )
                losses = self._plain.of_lanes(logits, labels)
            tally.add(logits, labels, losses)
        for module in in_training:  # which leaves out what is frozen without dropout
            module.training = True
        return tally.compute()

    def _end_epoch(
        self,
        train: Sequence[dict[str, float]],
        validation: Sequence[dict[str, float]],
        seconds: float,
    ) -> list[int]:
        """Tell every lane how its epoch went, and save it; return those that have not ended."""
        lanes = range(self.pack.count)
        for lane, task, progress in zip(lanes, self.tasks, self.progress, strict=True):
            metrics = metrics_of(train[lane], validation[lane], self._optimizer.rate(lane))
            step, total = self._optimizer.steps[lane], self._optimizer.total
            metrics |= settling(task.model.strategy, step, total)
            progress.seconds += seconds * self._shares[lane] / sum(self._shares)
            with progress.alone():
                progress.end_epoch(task, metrics, self.pack.lane_state(lane))
        self._optimizer.end_epoch([metrics["loss"] for metrics in validation])
        for lane, task, progress in zip(lanes, self.tasks, self.progress, strict=True):
            if progress.error is None:
                state, optimizer = self.pack.lane_state(lane), self._optimizer.lane_state(lane)
                with progress.alone():
                    save_lane(task.folder, progress, state, optimizer)
        if self.judge is not None:
            self.judge(self.lanes)
        return [
            lane
            for lane, (task, progress) in enumerate(self.lanes)
            if not progress.has_ended(task.config)
        ]

    def _tally(self, *, training: bool) -> LaneTally | ScoreTally:
        tally = lane_tally(self._loss, self.num_classes, self.pack.count, training=training)
        return tally.to(self.device.torch)
