"""Our own loop over the steps of one run: what Lightning's Trainer does for it, and no more."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adapterlab.base.files import write_torch
from adapterlab.config.schema import Config
from adapterlab.data.batches import AnyBatches
from adapterlab.training.checkpoints import loaded
from adapterlab.training.hardware import Device, autocast
from adapterlab.training.outcome import LabelledBatch, best_checkpoint, last_checkpoint
from adapterlab.training.plain.checkpoint import checkpoint
from adapterlab.training.progress import Progress
from adapterlab.training.steps import Steps
from adapterlab.training.throughput import Throughput

_DOUBLE = "64-true"


class Loop:
    """Training on the CPU, step by step and epoch by epoch, as Lightning's Trainer does it.

    Args:
        steps: what is trained.
        data: its batches.
        config: epochs, accumulation, clipping, early stopping.
        device: its precision.
        folder: for checkpoints.
        progress: is told of every step.
        throughput: measures them.

    Attributes:
        current_epoch, global_step, num_training_batches, estimated_stepping_batches: see `Driver`.
    """

    def __init__(
        self,
        steps: Steps,
        data: AnyBatches,
        config: Config,
        device: Device,
        *,
        folder: Path,
        progress: Progress,
        throughput: Throughput,
    ) -> None:
        self.steps, self.data, self.device, self.folder = steps, data, device, folder
        self.progress, self.throughput = progress, throughput
        self.epochs, self.patience = config.epochs, config.early_stopping
        self.accumulate, self.clip_norm = config.accumulate, config.optimizer.clip_norm
        self.current_epoch = self.global_step = 0
        self.num_training_batches = data.steps
        self._epoch_steps = -(-data.steps // config.accumulate)
        self.estimated_stepping_batches = self._epoch_steps * config.epochs
        steps.driver = self

    def go_on(self, last: Path | None) -> None:
        """Set up the optimizer, and take up a training where a checkpoint has left it.

        Args:
            last: the checkpoint of either loop; None to begin.
        """
        saved = None if last is None else loaded(last)
        if saved is not None:
            self.steps.on_load_checkpoint(saved)
            self.steps.load_state_dict(saved["state_dict"], strict=False)
            self.current_epoch, self.global_step = saved["epoch"] + 1, saved["global_step"]
        self.steps.configure_optimizers()
        if saved is not None:
            (optimizer,) = saved["optimizer_states"]
            self.steps.optimizer.load_state_dict(optimizer)
            if self.steps.schedule is not None:
                (schedule,) = saved["lr_schedulers"]
                self.steps.schedule.load_state_dict(schedule)

    def train(self) -> None:
        """Train until the last epoch, or until patience has run out."""
        self.progress.begin(self.estimated_stepping_batches, self.global_step)
        try:
            while not self.steps.training_state.is_over(self.epochs, self.patience):
                self._epoch()
        finally:
            self.progress.end()

    def _epoch(self) -> None:
        """Take a step on every batch, validate, and save what the training goes on from."""
        steps, device = self.steps, self.device.torch
        steps.on_train_epoch_start()
        for index, batch in enumerate(self.data.training_batches(self.current_epoch, device)):
            self.throughput.begin_step(device)
            self._batch(taken(batch, self.device), index)
            self.throughput.end_step(len(batch.labels))
            self.progress.step()
        self.throughput.pause(device)
        validated = self._validate()
        steps.on_train_epoch_end()
        self._save(validated)
        self.current_epoch += 1
        steps.after_saving()

    def _batch(self, batch: LabelledBatch, index: int) -> None:
        """Add a batch's gradients, and take a step where they are those of all that it takes."""
        steps, last = self.steps, index + 1 == self.num_training_batches
        takes_step = last or (index + 1) % self.accumulate == 0

        # As optimizers take it, some of which call it more than once.
        @torch.enable_grad()
        def closure() -> Tensor:
            with precise(self.device):
                loss = steps.training_step(batch, index)
            if self.accumulate > 1:
                loss = loss / self.accumulate
            if index % self.accumulate == 0:
                steps.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if takes_step:
                steps.on_before_optimizer_step(steps.optimizer)
                self._clip()
            return loss

        if not takes_step:
            closure()
            return
        steps.optimizer.step(closure)  # type: ignore[arg-type]  # as Lightning does
        steps.after_optimizer_step()
        self.global_step += 1
        if steps.schedule is not None:
            steps.schedule.step()

    def _clip(self) -> None:
        if self.clip_norm is not None:
            groups = self.steps.optimizer.param_groups
            trained = [parameter for group in groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.clip_norm)

    def _validate(self) -> int:
        """Go through the validation split, and return its batches."""
        steps, count = self.steps, 0
        modes = [(module, module.training) for module in steps.modules()]
        steps.eval()
        with torch.inference_mode():
            steps.on_validation_epoch_start()
            for batch in self.data.batches("validation", self.device.torch):
                with precise(self.device):
                    steps.validation_step(taken(batch, self.device), count)
                count += 1
        for module, training in modes:  # which leaves out what is frozen without dropout
            module.training = training
        return count

    def _save(self, validated: int) -> None:
        """Save both checkpoints, the last one last: where it is from, the best is that of it."""
        saved = checkpoint(
            self.steps,
            batches=self.num_training_batches,
            epoch_steps=self._epoch_steps,
            validated=validated,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        best, last = best_checkpoint(self.folder), last_checkpoint(self.folder)
        if self.steps.is_best:
            write_torch(best, saved, last)
        else:
            write_torch(last, saved)


def drive(
    module: Steps,
    data: AnyBatches,
    config: Config,
    device: Device,
    *,
    folder: Path,
    last: Path | None,
    progress: Progress,
    throughput: Throughput,
) -> None:
    """Train by our own loop; see `training.fit.Drive`."""
    loop = Loop(
        module, data, config, device, folder=folder, progress=progress, throughput=throughput
    )
    loop.go_on(last)
    loop.train()


def precise(device: Device) -> AbstractContextManager[Any]:
    """Compute as Lightning's Trainer of this precision does in a step."""
    if device.precision == _DOUBLE:
        return default_type(torch.float64)
    return autocast(device.torch, device.precision)


@contextmanager
def default_type(dtype: torch.dtype) -> Iterator[None]:
    """Make floating-point tensors of another type, where none is named."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def taken(batch: Any, device: Device) -> Any:
    """Return a batch as Lightning's Trainer of this precision hands it on."""
    if device.precision != _DOUBLE:
        return batch
    if isinstance(batch, Tensor):
        return batch.double() if batch.is_floating_point() else batch
    if isinstance(batch, Mapping):
        return {key: taken(item, device) for key, item in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(taken(item, device) for item in batch))
    return batch
