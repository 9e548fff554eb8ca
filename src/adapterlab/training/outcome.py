"""What a training, alone or in a pack, takes and leaves; nothing here loads Lightning."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.optimizers import Optimizer

Report = Callable[[int, Mapping[str, float]], None]
"""Takes the number of an epoch, from 1, and its metrics."""


class LabelledBatch(Protocol):
    """What data yields: inputs for the model, and labels [batch]."""

    @property
    def inputs(self) -> Any:
        """What the model is called with."""

    @property
    def labels(self) -> Tensor:
        """Class indices, [batch]."""


@dataclass(frozen=True)
class Training:
    """What came of a training.

    Attributes:
        history: metrics by epoch, from 1.
        best_epoch: the epoch whose parameters the model has now.
        seconds: wall time of the training, validation included.
        samples_per_second: without warm-up and validation; None where it was not measured.
        why: the reason then.
    """

    history: dict[int, dict[str, float]]
    best_epoch: int
    seconds: float
    samples_per_second: float | None
    why: str


class TrainingDivergedError(AdapterLabError):
    """The training loss, or what the trained model answers, is no longer a number."""

    exit_code = 1


def require_finite(metrics: Mapping[str, float], epoch: int, options: Optimizer) -> None:
    """Refuse to go on from an epoch whose losses are no numbers.

    Raises:
        TrainingDivergedError: they are not.
    """
    for name in ("train/loss", "val/loss"):
        if not math.isfinite(metrics[name]):
            raise TrainingDivergedError(
                f"{name} is {metrics[name]} in epoch {epoch}; try a lower optimizer.lr than "
                f"{options.lr:g}, or optimizer.clip_norm"
            )


def last_checkpoint(folder: Path) -> Path:
    """Return the checkpoint in `folder` that a training alone goes on from."""
    return folder / "last.ckpt"


def best_checkpoint(folder: Path) -> Path:
    """Return the checkpoint in `folder` of the best epoch of a training alone."""
    return folder / "best.ckpt"


def now(device: torch.device) -> float:
    """Return the time in seconds when all that was asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
