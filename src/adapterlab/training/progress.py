"""How far a training alone has come, for whoever waits for it."""

import logging
import math
from collections.abc import Mapping

from tqdm.auto import tqdm

log = logging.getLogger(__name__)


class Progress:
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

    def begin(self, total: int, taken: int) -> None:
        """Open the bar.

        Args:
            total: steps of the whole training.
            taken: steps that have been taken.
        """
        self._bar = tqdm(
            total=total, initial=taken, desc=self.title, unit="step", leave=False, disable=None
        )

    def step(self) -> None:
        """Move on by a step."""
        self._bar.update()

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Show an epoch's validation."""
        metric = f"val/{self.metric}"
        text = f"{metric} {metrics[metric]:.4f}, val/loss {metrics['val/loss']:.4f}"
        self._bar.set_postfix_str(text)
        if self._bar.disable and epoch % math.ceil(self.epochs / self.lines) == 0:
            log.info("%s: epoch %d/%d, %s", self.title, epoch, self.epochs, text)

    def end(self) -> None:
        """Close the bar, if it is open."""
        if self.began:
            self._bar.close()
