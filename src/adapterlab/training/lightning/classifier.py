"""The LightningModule: what a training alone does, for Lightning's Trainer to drive."""

from typing import Any, cast

from adapterlab.training.lightning.imported import pl
from adapterlab.training.steps import Driver, Steps


class Classifier(Steps, pl.LightningModule):
    """An adapted classifier as a LightningModule; all that it does is what `Steps` says."""

    strict_loading = False

    @property
    def driver(self) -> Driver:  # type: ignore[override]
        """The Trainer."""
        return cast(Driver, self.trainer)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, and let the method look at what came of it."""
        super().optimizer_step(*args, **kwargs)
        self.after_optimizer_step()
