"""Callbacks: what a resumed run must not forget, throughput without warm-up, and progress."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from adapterlab.training.lightning.imported import pl
from adapterlab.training.outcome import WARM_UP_STEPS, LabelledBatch, last_checkpoint, now

log = logging.getLogger(__name__)


class Stopping(pl.callbacks.EarlyStopping):
    """Early stopping that stands: a run that had stopped trains no further when it is resumed."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stop again where the patience was used up before the interruption."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class Checkpoints(pl.callbacks.ModelCheckpoint):
    """The best epoch's checkpoint, and every epoch the last one, to go on from.

    With `save_last`, Lightning 2.6 writes the last one only together with a new best. It also
    forgets what was best when the folder has been moved while a run was interrupted.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save both, the last one last: it says which is best."""
        super().on_train_epoch_end(trainer, module)
        trainer.save_checkpoint(last_checkpoint(Path(str(self.dirpath))))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best so far, in the folder as it is called now."""
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        scores = state_dict["best_k_models"]
        super().load_state_dict(
            state_dict
            | {name: moved(state_dict[name]) for name in paths}
            | {"best_k_models": {moved(path): score for path, score in scores.items()}}
            | {"dirpath": self.dirpath}
        )


class Throughput(pl.Callback):
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
            self._since = now(module.device)

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
            self._seconds += now(module.device) - self._since
            self._since = None


class Progress(pl.Callback):
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
        if self.began:
            self._bar.close()
