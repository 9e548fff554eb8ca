"""Callbacks: the files of a training alone and its end, throughput, and progress."""

from pathlib import Path
from typing import Any, cast

from adapterlab.training.lightning.imported import pl
from adapterlab.training.outcome import LabelledBatch, best_checkpoint, last_checkpoint
from adapterlab.training.progress import Progress
from adapterlab.training.throughput import Throughput
from adapterlab.training.training_state import TrainingState


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
        cast(Any, module).after_saving()
        self._stop_if_over(trainer, module)

    def _stop_if_over(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert trainer.max_epochs is not None
        if cast(TrainingState, module.training_state).is_over(trainer.max_epochs, self.patience):
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


class Bar(pl.Callback):
    """Moves a progress on.

    Args:
        progress: that is shown.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Begin."""
        self.progress.begin(int(trainer.estimated_stepping_batches), trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: LabelledBatch,
        batch_idx: int,
    ) -> None:
        """Move on by a step."""
        self.progress.step()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """End."""
        self.progress.end()

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        """End, so that the error stands on a line of its own."""
        self.progress.end()
