"""The final figures of a run; one that was not measured is missing, with why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from adapterlab.adapters.budget import in_parameters
from adapterlab.assembly import Assembly, base_model, source_data, source_model
from adapterlab.config import Config
from adapterlab.data.batches import SplitBatches
from adapterlab.predictions import Predictions, predict
from adapterlab.training.outcome import Training


@dataclass
class Measurements:
    """Metrics by name, and the reasons for those that are missing."""

    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, prefix: str, values: Mapping[str, float]) -> None:
        """Add metrics under ``prefix/``."""
        self.values |= {f"{prefix}/{name}": float(value) for name, value in values.items()}

    def add_or_say(self, name: str, value: float | None, why: str) -> None:
        """Add a metric, or the reason for its absence."""
        if value is None:
            self.missing[name] = why
        else:
            self.values[name] = value

    def add_outcome(self, training: Training, test: Predictions) -> None:
        """Add the metrics on the test split, and those of the epoch that was chosen."""
        self.add("test", test.metrics())
        best = training.history[training.best_epoch]
        self.add("best", {"epoch": training.best_epoch})
        for name in ("loss", "accuracy", "macro_f1"):
            self.add("best", {f"val_{name}": best[f"val/{name}"]})

    def add_before(self, config: Config, assembly: Assembly, device: torch.device) -> None:
        """Measure the base as it is on the target's test split: the zero-shot control.

        Args:
            config: of the run.
            assembly: of the run.
            device: where to compute.
        """
        why = why_no_zero_shot(assembly)
        value = None
        if why is None:
            base = base_model(config, assembly, len(assembly.data.classes))
            value = predict(base, assembly.data, "test", device).metrics()["accuracy"]
        self.add_or_say("target/accuracy_before", value, why or "")

    def add_data(self, assembly: Assembly) -> None:
        """Add what the model is spared or denied of the data: padding, truncation."""
        self.add("data", assembly.data.facts())

    def add_parameters(self, config: Config, assembly: Assembly) -> None:
        """Count adapter, head, trainable and total parameters, and compare with the budget."""
        count = assembly.adapted.count()
        self.add(
            "params",
            {
                "adapter": count.adapter,
                "head": count.head,
                "trainable": count.trainable,
                "total": count.total,
            },
        )
        if config.budget is not None:
            asked = in_parameters(config.budget, assembly.adapted.model)
            self.add("budget", {"asked": asked, "near": count.trainable / asked})

    def add_source(
        self,
        config: Config,
        assembly: Assembly,
        device: torch.device,
        data: SplitBatches[Any, Any] | None = None,
    ) -> None:
        """Measure what is left of the source task: accuracy on its test split before and after.

        Args:
            config: of the run.
            assembly: of the run, trained.
            device: where to compute.
            data: of the source task, if it has been made before.
        """
        why = why_no_source(config, assembly)
        if why is not None:
            for name in ("source/accuracy_before", "source/accuracy_after"):
                self.missing[name] = why
            return
        data = data or source_data(config, assembly)
        after = predict(source_model(config, assembly), data, "test", device)
        self.values["source/accuracy_after"] = after.metrics()["accuracy"]
        self.add_or_say("source/accuracy_before", assembly.base.accuracy, "not measured")


def why_no_zero_shot(assembly: Assembly) -> str | None:
    """Say why the base as it is does not know the target's classes; None if it does."""
    if not assembly.base.pretrained:
        return "trained from scratch: there is no base"
    if not assembly.head_kept:
        return "the head is new: the base has none for these classes"
    return None


def why_no_source(config: Config, assembly: Assembly) -> str | None:
    """Say why there is no source task to measure; None if there is one."""
    if not assembly.base.pretrained:
        return "trained from scratch: there is no source task"
    if not assembly.base.weights:
        return "what the model was pretrained on is none of the data sets here"
    if assembly.base.dataset is None:
        return "the base is a file, and its source data are not known"
    if assembly.base.dataset.loader == config.dataset.loader:
        return "source and target are the same task"
    return None
