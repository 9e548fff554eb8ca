"""How an adapted classifier is trained and validated, whoever drives it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from adapterlab.adapters.anchors import anchors_of
from adapterlab.adapters.hooks import Moment
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.seeding import stream
from adapterlab.base.signals import end_if_signalled
from adapterlab.config.optimizers import Optimizer
from adapterlab.training.losses import TrainingLoss
from adapterlab.training.optimizers import (
    make_optimizer,
    make_plateau,
    make_schedule,
    settings_of,
)
from adapterlab.training.outcome import LabelledBatch, Report
from adapterlab.training.tally import Tally
from adapterlab.training.training_state import TrainingState, metrics_of, settling

AfterEpoch = Callable[[TrainingState], None]
"""Takes how far a training has come."""


class Driver(Protocol):
    """What a training alone asks of what drives it, by the names of Lightning's Trainer."""

    @property
    def current_epoch(self) -> int:
        """Epochs that are done."""

    @property
    def global_step(self) -> int:
        """Steps that have been taken."""

    @property
    def num_training_batches(self) -> int | float:
        """Batches of an epoch."""

    @property
    def estimated_stepping_batches(self) -> int | float:
        """Steps of the whole training."""


class Steps(nn.Module):
    """Training of an adapted model, by cross-entropy or what its task makes small.

    Its methods are the hooks of a LightningModule, called in Lightning's order:
    `lightning.classifier.Classifier` is one for Lightning's Trainer, and `plain.loop` calls them
    itself.

    Checkpoints hold what is trained, never the frozen base. Randomness (dropout, base and
    adapter) is drawn anew each epoch from a stream of the seed, so a run resumed at an epoch's
    start goes on as if it had never stopped.

    Args:
        model: what is trained.
        num_classes: classes or labels of the task; 1 for numbers.
        optimizer: its options.
        loss: what is made small, in training only.
        accumulate: batches whose gradients a step takes the mean of.
        seed: of everything drawn while training.
        select_on: the metric on validation that the best epoch is the best in.
        watched: classes whose F1 on validation is measured too, see `selection.watched`.
        report: called after every epoch with its metrics: ``train/loss``, ``val/accuracy``, ...
        after_epoch: called after every epoch that is saved, with how far the training has come.
        compile: run the model through torch.compile.
        allow: whose code may be the optimizer's, see `config.trust.target`.

    Attributes:
        training_state: how far the training has come; its history is kept in checkpoints.
        is_best: whether the last epoch is the best so far.
        follows: whether the method looks at what comes of a step.
        driver: who drives it; known before `configure_optimizers`.
        schedule: of the rates, stepped after every step; None where they follow a plateau.
    """

    driver: Driver

    def __init__(
        self,
        model: AdaptedModel,
        num_classes: int,
        optimizer: Optimizer,
        *,
        loss: TrainingLoss | None = None,
        accumulate: int = 1,
        seed: int = 0,
        select_on: str = "accuracy",
        watched: Mapping[str, int] | None = None,
        report: Report | None = None,
        after_epoch: AfterEpoch | None = None,
        compile: bool = False,
        allow: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.options = optimizer
        self.loss = loss or TrainingLoss()
        self.accumulate = accumulate
        self.seed = seed
        self.report, self.after_epoch = report, after_epoch
        self._adds = model.strategy.uses("extra_loss")
        self._looks = model.strategy.uses("after_backward")
        self.follows = model.strategy.uses("after_step")
        self.allow = allow
        self.select_on = select_on
        self.training_state, self.is_best = TrainingState(), False
        self._plain = self.loss.plain()
        self.train_tally = Tally(num_classes, self.loss, training=True)
        self.val_tally = Tally(num_classes, self.loss)
        if watched:
            self.val_tally.watch(watched)
        self._call: Callable[..., Tensor] = torch.compile(model) if compile else model
        self._plateau_state: dict[str, Any] | None = None
        self.schedule: LRScheduler | None = None

    def forward(self, inputs: Any) -> Tensor:
        """Return the logits, [batch, C]."""
        return self._call(inputs)

    def configure_optimizers(self) -> Any:
        """Set up the optimizer over what the strategy trains, and the schedule."""
        settings = settings_of(self.model, self.options)
        self.optimizer = make_optimizer(
            self.model.trainable(), self.options, settings, allow=self.allow
        )
        self._first_rate = float(self.optimizer.param_groups[0]["lr"])
        self._total = int(self.driver.estimated_stepping_batches)
        self.plateau = make_plateau(self.optimizer, self.options)
        if self.plateau is not None:
            if self._plateau_state is not None:
                self.plateau.load_state_dict(self._plateau_state)
            return self.optimizer
        self.schedule = make_schedule(self.optimizer, self._total, self.options)
        return [self.optimizer], [{"scheduler": self.schedule, "interval": "step"}]

    def on_train_epoch_start(self) -> None:
        """Start this epoch's random streams."""
        torch.manual_seed(stream(self.seed, "epoch", self.driver.current_epoch))
        self.model.reseed(stream(self.seed, "dropout", self.driver.current_epoch))
        self.train_tally.reset()

    def training_step(self, batch: LabelledBatch, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        end_if_signalled()
        loss = self.batch_loss(self(batch.inputs), batch)
        if self._adds:
            # In the parameters' own precision, as in a pack.
            with torch.autocast(loss.device.type, enabled=False):
                extra = self.model.strategy.extra_loss(self._moment())
            loss = loss if extra is None else loss + extra
        if self.accumulate > 1:
            # Lightning divides by all of them, also in the last step of an epoch.
            first = batch_index - batch_index % self.accumulate
            left = int(self.driver.num_training_batches) - first
            loss = loss * (self.accumulate / min(self.accumulate, left))
        return loss

    def batch_loss(self, logits: Tensor, batch: LabelledBatch) -> Tensor:
        """Return the loss of a batch's logits, and count it."""
        loss = self.loss(logits, batch.labels)
        self.train_tally.add(logits, batch.labels, loss)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the method look at the gradients, which no scaling is left in and no clipping."""
        if self._looks:
            with torch.no_grad():
                self.model.strategy.after_backward(self._moment(with_gradients=True))

    def after_optimizer_step(self, *, taken: bool = True) -> None:
        """Let the method look at what came of a step, which is not counted yet.

        Args:
            taken: whether there was one; else its gradients are no numbers, and nobody sees them.
        """
        if self.follows:
            moment = self._moment(with_gradients=taken)
            with torch.no_grad():
                self.model.strategy.after_step(replace(moment, step=moment.step + 1))

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.val_tally.reset()

    def validation_step(self, batch: LabelledBatch, batch_index: int) -> None:
        """Count a batch."""
        logits = self(batch.inputs)
        self.val_tally.add(logits, batch.labels, self._plain(logits, batch.labels))

    def on_train_epoch_end(self) -> None:
        """Gather the epoch's metrics, refuse a diverged training, and follow the plateau.

        This runs before checkpoints are written, so that a checkpoint holds the whole epoch;
        Lightning would step a plateau schedule after, and a resumed run would miss that step.
        """
        metrics = self.epoch_metrics()
        metrics |= settling(self.model.strategy, self.driver.global_step, self._total)
        self.is_best = self.training_state.take(metrics, self.select_on, self.options)
        if self.plateau is not None:
            self.plateau.step(metrics["val/loss"])
        if self.report is not None:
            self.report(self.training_state.epochs, metrics)

    def after_saving(self) -> None:
        """Tell that an epoch has been saved; this may end the training by an error."""
        if self.after_epoch is not None:
            self.after_epoch(self.training_state)

    def epoch_metrics(self) -> dict[str, float]:
        """Return the epoch's metrics by the names that they are kept under."""
        return metrics_of(self.train_tally.compute(), self.val_tally.compute(), self._rate())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained, the history and the plateau's state."""
        checkpoint["state_dict"] = self.saved_state()
        checkpoint["history"] = self.training_state.history
        checkpoint["plateau"] = self.plateau and self.plateau.state_dict()

    def saved_state(self) -> dict[str, Tensor]:
        """Return what of the model is kept in checkpoints, by its names there."""
        return {f"model.model.{name}": tensor for name, tensor in self.model.state().items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up history and plateau where they were."""
        self.training_state = TrainingState.after(checkpoint["history"], self.select_on)
        self._plateau_state = checkpoint["plateau"]

    def _moment(self, *, with_gradients: bool = False) -> Moment:
        parameters = self.model.trainable()
        return Moment(
            step=self.driver.global_step,
            total=self._total,
            parameters=parameters,
            gradients={
                name: parameter.grad
                for name, parameter in parameters.items()
                if with_gradients and parameter.grad is not None
            },
            frozen={**self.model.frozen_state(saved=False), **self.model.frozen_state(saved=True)},
            base=anchors_of(self.model),
        )

    def _rate(self) -> float:
        """Return the learning rate of parameters whose role has none of its own."""
        rate = float(self.optimizer.param_groups[0]["lr"])
        return rate * (self.options.lr / self._first_rate)
