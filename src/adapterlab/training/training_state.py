"""How far a training has come: its history, its best epoch, its end; for both loops."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from adapterlab.adapters.hooks import Hooks
from adapterlab.config.optimizers import Optimizer
from adapterlab.config.tasks import LOWER_IS_BETTER
from adapterlab.training.outcome import require_finite

UNSETTLED = "train/unsettled"
"""Of an epoch: 1 where the method says that it has not come to what it gives, see `Hooks`."""


@dataclass
class TrainingState:
    """How far a training has come.

    Attributes:
        epochs: that are done.
        history: metrics by epoch, from 1.
        best_epoch: the first of the epochs that validation likes best; 0 before there is one.
        waited: epochs since; none while the method has not settled, see `Hooks.settled`.
    """

    epochs: int = 0
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    best_epoch: int = 0
    waited: int = 0

    @classmethod
    def after(cls, history: Mapping[int, dict[str, float]], select_on: str) -> Self:
        """Return where a training of this history stands."""
        state = cls()
        for epoch in sorted(history):
            state._count(epoch, history[epoch], select_on)
        return state

    def take(self, metrics: dict[str, float], select_on: str, options: Optimizer) -> bool:
        """Take in an epoch, and say whether it is the best so far.

        Args:
            metrics: of the epoch, see `metrics_of`.
            select_on: the metric on validation.
            options: of the optimizer, for the error.

        Raises:
            TrainingDivergedError: a loss is no number; nothing is taken in.
        """
        require_finite(metrics, self.epochs + 1, options)
        return self._count(self.epochs + 1, metrics, select_on)

    def is_over(self, epochs: int, patience: int | None) -> bool:
        """Say whether there is nothing left to train.

        Args:
            epochs: of the whole training.
            patience: epochs without a better one after which it ends; None for no such end.
        """
        return self.epochs >= epochs or (patience is not None and self.waited >= patience)

    def _count(self, epoch: int, metrics: dict[str, float], select_on: str) -> bool:
        self.epochs, self.history[epoch] = epoch, metrics
        better = self._is_better(select_on, epoch)
        unsettled = metrics.get(UNSETTLED, 0.0) > 0
        self.waited = 0 if better or unsettled else self.waited + 1
        if better or not self.best_epoch:
            self.best_epoch = epoch
            return True
        return False

    def _is_better(self, select_on: str, epoch: int) -> bool:
        def score(number: int) -> np.float32:
            # Differences that no float32 shows are none, and a first loss that is infinite in it
            # is no better than none.
            worst = math.inf if select_on in LOWER_IS_BETTER else -math.inf
            with np.errstate(over="ignore"):
                return np.float32(self.history[number][f"val/{select_on}"] if number else worst)

        if self.best_epoch:
            before, now = (
                self.history[number].get(UNSETTLED, 0.0) for number in (self.best_epoch, epoch)
            )
            if before != now:
                return now < before
        new, best = score(epoch), score(self.best_epoch)
        return bool(new < best if select_on in LOWER_IS_BETTER else new > best)


def settling(strategy: Hooks, step: int, total: int) -> dict[str, float]:
    """Return what is kept of an epoch for a method that has to settle first; else nothing."""
    if not strategy.uses("settled"):
        return {}
    return {UNSETTLED: float(not strategy.settled(step, total))}


def metrics_of(
    train: Mapping[str, float], validation: Mapping[str, float], rate: float
) -> dict[str, float]:
    """Return an epoch's metrics by the names that they are kept under."""
    metrics = {f"train/{name}": value for name, value in train.items()}
    metrics |= {f"val/{name}": value for name, value in validation.items()}
    return metrics | {"train/lr": rate}
