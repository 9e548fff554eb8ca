"""Callbacks: the files of a training alone and its end, throughput, and progress."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tqdm.auto import tqdm

from adapterlab.training.lightning.imported import pl
from adapterlab.training.outcome import LabelledBatch, best_checkpoint, last_checkpoint
from adapterlab.training.standing import Standing
from adapterlab.training.throughput import Throughput

log = logging.getLogger(__name__)


class Keeping(pl.callbacks.Checkpoint):
    """The best epoch's checkpoint, every epoch the last one to go on from, and an early end.

    Args:
        folder: for both.
        patience: epochs without a better one after which the training ends; None for no such end.
    """

    def __init__(self, folder: Path, patience: int | None) -> None:
        self.folder, self.patience = folder, patience

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stop again where the patience was used up before an interruption."""
        self._stop_if_over(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save both, the last one last: where it is from, the best is that of its history."""
        if module.is_best:
            trainer.save_checkpoint(best_checkpoint(self.folder))
        trainer.save_checkpoint(last_checkpoint(self.folder))
        self._stop_if_over(trainer, module)

    def _stop_if_over(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert trainer.max_epochs is not None
        if cast(Standing, module.standing).is_over(trainer.max_epochs, self.patience):
            trainer.should_stop = True


class Clock(pl.Callback):
    """Lets a throughput's clock run while steps are taken.

    Args:
        throughput: what is measured.
    """

    def __init__(self, throughput: Throughput) -> None:
        self.throughput = throughput

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: LabelledBatch, batch_idx: int
    ) -> None:
        """Start it after the warm-up, and after each pause."""
        self.throughput.begin_step(module.device)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: LabelledBatch,
        batch_idx: int,
    ) -> None:
        """Count the batch, and stop the clock after the epoch's last."""
        self.throughput.end_step(len(batch.labels))
        if trainer.is_last_batch:
            self.throughput.pause(module.device)


class Progress(pl.Callback):
    """One bar over all steps on a terminal; elsewhere a line for a few of the epochs.

    Args:
        title: the run's name.
        epochs: of the whole training.
        lines: how many epochs at most get a line where there is no terminal.
        metric: of validation, that is shown.
    """

    def __init__(self, title: str, epochs: int, lines: int = 5, metric: str = "accuracy") -> None:
        self.title, self.metric = title, metric
        self.epochs = epochs
        self.lines = lines

    @property
    def began(self) -> bool:
        """Whether the training has begun."""
        return hasattr(self, "_bar")

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
        metric = f"val/{self.metric}"
        text = f"{metric} {metrics[metric]:.4f}, val/loss {metrics['val/loss']:.4f}"
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
        if self.began:
            self._bar.close()
