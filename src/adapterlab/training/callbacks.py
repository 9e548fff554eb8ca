"""Callbacks: throughput without warm-up, and a progress bar that costs next to nothing."""

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from tqdm.auto import tqdm

from adapterlab.training.classifier import LabelledBatch

log = logging.getLogger(__name__)

WARM_UP_STEPS = 10
"""Steps left out of the throughput: allocators fill, kernels are chosen, code is compiled."""


class Throughput(Callback):
    """Measure training samples a second, without warm-up and without validation.

    Attributes:
        samples_per_second: None where it was not measured.
        why: the reason then.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._samples = 0
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def samples_per_second(self) -> float | None:
        """Samples a second over all steps after the warm-up."""
        return self._samples / self._seconds if self._samples else None

    @property
    def why(self) -> str:
        """Why there is no figure."""
        return f"the training has no more than the {WARM_UP_STEPS} steps of warm-up"

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: LabelledBatch, batch_idx: int
    ) -> None:
        """Start the clock after the warm-up, and after each pause."""
        if self._since is None and self._steps >= WARM_UP_STEPS:
            self._since = self._now(module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: LabelledBatch,
        batch_idx: int,
    ) -> None:
        """Count the batch, and stop the clock after the epoch's last."""
        self._steps += 1
        if self._since is None:
            return
        self._samples += len(batch.labels)
        if trainer.is_last_batch:
            self._seconds += self._now(module) - self._since
            self._since = None

    @staticmethod
    def _now(module: pl.LightningModule) -> float:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        return time.perf_counter()


class Progress(Callback):
    """One bar over all steps on a terminal; elsewhere a line for a few of the epochs.

    Args:
        title: the run's name.
        epochs: of the whole training.
        lines: how many epochs at most get a line where there is no terminal.
    """

    def __init__(self, title: str, epochs: int, lines: int = 5) -> None:
        self.title = title
        self.epochs = epochs
        self.lines = lines

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Open the bar."""
        self._bar = tqdm(
            total=int(trainer.estimated_stepping_batches),
            initial=trainer.global_step,
            desc=self.title,
            unit="step",
            leave=False,
            disable=None,
        )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: LabelledBatch,
        batch_idx: int,
    ) -> None:
        """Move on by a step."""
        self._bar.update()

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Show an epoch's validation."""
        text = f"val/accuracy {metrics['val/accuracy']:.4f}, val/loss {metrics['val/loss']:.4f}"
        self._bar.set_postfix_str(text)
        if self._bar.disable and epoch % math.ceil(self.epochs / self.lines) == 0:
            log.info("%s: epoch %d/%d, %s", self.title, epoch, self.epochs, text)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Close the bar."""
        self._bar.close()

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the error stands on a line of its own."""
        if hasattr(self, "_bar"):
            self._bar.close()
