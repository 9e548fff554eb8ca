"""What becomes of a lane while its pack trains: its history, its best epoch, its end."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from adapterlab.adapters import AdaptedModel
from adapterlab.base.files import write_torch
from adapterlab.config.schema import Config
from adapterlab.training.checkpoints import damaged, loaded, require_history, require_same
from adapterlab.training.outcome import Report, TrainingDivergedError
from adapterlab.training.training_state import TrainingState


@dataclass(frozen=True)
class LaneTask:
    """A run that is trained as a lane.

    Attributes:
        config: its epochs, optimizer, selection, early stopping and seeds.
        model: what is trained; it has the best epoch's parameters in the end.
        folder: for its checkpoint.
        report: called after every epoch, and first with those that are taken up from a checkpoint.
        ended: called when the lane has ended and others of its pack go on.
    """

    config: Config
    model: AdaptedModel
    folder: Path
    report: Report
    ended: Callable[[], None] = lambda: None


@dataclass
class LaneProgress(TrainingState):
    """How far a lane has come, and what it goes on from.

    Attributes:
        best_state: trained parameters after the best epoch.
        seconds: the lane's share of its packs' time: each epoch's, divided among its lanes.
        error: why the lane was given up, None otherwise.
        resumed: whether an earlier process trained part of it.
    """

    best_state: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    error: Exception | None = None
    resumed: bool = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let what goes wrong with this lane's own files or reports end this lane only."""
        try:
            yield
        except Exception as error:
            self.error = error

    @contextmanager
    def taking_time(self) -> Iterator[None]:
        """Count the time of what is done for this lane only."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def end_epoch(
        self, task: LaneTask, metrics: dict[str, float], state: Mapping[str, Tensor]
    ) -> None:
        """Take in an epoch; one that diverged is the lane's error.

        Args:
            task: of the lane.
            metrics: of the epoch.
            state: trained parameters after it; copied if they are the best.
        """
        try:
            best = self.take(metrics, task.config.select_on, task.config.optimizer)
        except TrainingDivergedError as error:
            self.error = error
            return
        if best:
            self.best_state = {name: tensor.detach().clone() for name, tensor in state.items()}
        task.report(self.epochs, metrics)

    def has_ended(self, config: Config) -> bool:
        """Say whether there is nothing left to train."""
        return self.error is not None or self.is_over(config.epochs, config.early_stopping)


def lane_checkpoint(folder: Path) -> Path:
    """Return the checkpoint in `folder` that a lane goes on from."""
    return folder / "lane.ckpt"


def save_lane(
    folder: Path, progress: LaneProgress, state: Mapping[str, Tensor], optimizer: dict[str, Any]
) -> None:
    """Write what a lane goes on from; the file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = lane_checkpoint(folder)
    values = {**vars(progress), "error": None}
    # Copies, since views would be saved with all lanes' parameters behind them.
    own = {name: tensor.detach().clone() for name, tensor in state.items()}
    saved = {"progress": values, "state": own, "optimizer": optimizer}
    write_torch(path, saved)


@dataclass(frozen=True)
class SavedLane:
    """What a lane goes on from."""

    progress: LaneProgress
    state: dict[str, Tensor]
    optimizer: dict[str, Any]


def load_lane(folder: Path, state: Mapping[str, Tensor]) -> SavedLane | None:
    """Read what `save_lane` wrote; None if there is nothing.

    Args:
        folder: of the checkpoints.
        state: of the model, as the checkpoint must have it.

    Raises:
        CheckpointError: the file is damaged, no lane's checkpoint, or of another model.
    """
    path = lane_checkpoint(folder)
    if not path.is_file():
        return None
    saved = loaded(path)
    try:
        progress = LaneProgress(**saved["progress"] | {"error": None, "resumed": True})
        own, optimizer = saved["state"], saved["optimizer"]
        counts = (progress.epochs, progress.best_epoch, progress.waited)
        numbers = all(isinstance(count, int) and count >= 0 for count in counts)
        tensors = {"plateau", "tensors"} <= optimizer.keys()
        known = progress.history.keys() >= {progress.best_epoch or progress.epochs}
    except (KeyError, TypeError, AttributeError):
        raise damaged(path, "it is no checkpoint of a lane") from None
    if not (numbers and tensors and (known or not progress.epochs)):
        raise damaged(path, "it is no checkpoint of a lane")
    require_history(progress.history, path)
    for one in (own, progress.best_state) if progress.best_epoch else (own,):
        require_same(one, state, path)
    return SavedLane(progress, own, optimizer)
