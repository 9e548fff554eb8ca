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
        scaler: Any = getattr(self.trainer.precision_plugin, "scaler", None)
        looks = scaler is not None and self.follows
        before = scaler.get_scale() if looks else 0.0
        super().optimizer_step(*args, **kwargs)
        # A gradient that half precision did not hold is taken no step by, and makes the scale less.
        self.after_optimizer_step(taken=not (looks and scaler.get_scale() < before))
