"""The final figures of a run; one that was not measured is missing, with why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch

from adapterlab.adapters.budget import in_parameters
from adapterlab.config.class_names import quoted
from adapterlab.config.schema import Config
from adapterlab.config.tasks import main_metric
from adapterlab.data.batches import AnyBatches
from adapterlab.evidence.metrics import answers_one_class
from adapterlab.models.by_length import ByLength
from adapterlab.runs.assembly import Assembly, base_model, source_data, source_model
from adapterlab.runs.results.floor import Floor
from adapterlab.training.outcome import Training
from adapterlab.training.predicting import predict
from adapterlab.training.predictions import Predictions
from adapterlab.training.task_predictions import settled


@dataclass
class Measurements:
    """Metrics by name, the reasons for those that are missing, and what to know of them."""

    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

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
        if answers_one_class(self.values):
            only = test.classes[int(test.logits[0].argmax())]
            self.notes.append(
                f"answers {quoted(only)} for all {len(test.labels):,} test examples: nothing that "
                "tells classes apart was learnt"
            )
        best = training.history[training.best_epoch]
        self.add("best", {"epoch": training.best_epoch})
        found = {name.removeprefix("val/"): best[name] for name in best if name.startswith("val/")}
        self.add("best", {f"val_{name}": value for name, value in found.items()})

    def add_before(self, assembly: Assembly, base: "OfTheBase") -> None:
        """Add the zero-shot control: the base as it is on the target's test split."""
        why = why_no_zero_shot(assembly)
        main = main_metric(assembly.data.task)
        self.add_or_say(f"target/{main}_before", base.accuracy_before, why or "")

    def add_data(self, assembly: Assembly) -> None:
        """Add what is tested on, what the model is spared or denied, and what is wrong with it."""
        self.add("data", {"test_examples": len(assembly.examples), **assembly.data.facts()})
        self.add("data", assembly.scrutiny.facts)

    def add_floor(self, floor: Floor) -> None:
        """Add what a linear model reaches on the same rows, if that was asked for."""
        score = floor.score()
        if score is not None or floor.why:
            self.add_or_say(f"data/baseline_{floor.metric}", score, floor.why)

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
            if (over := count.trainable - asked) > 0:
                self.notes.append(
                    f"not within budget={config.budget}: {over:,} more parameters are trained"
                )

    def add_source(
        self,
        config: Config,
        assembly: Assembly,
        device: torch.device,
        base: "OfTheBase",
    ) -> Predictions | None:
        """Measure what is left of the source task: accuracy on its test split before and after.

        Args:
            config: of the run.
            assembly: of the run, trained.
            device: where to compute.
            base: with the source task's data.

        Returns:
            What the trained model says to the source's test split; None without a source.
        """
        why = why_no_source(config, assembly)
        if why is not None:
            for name in ("source/accuracy_before", "source/accuracy_after"):
                self.missing[name] = why
            return None
        assert base.source is not None
        after = predict(source_model(config, assembly), base.source, "test", device)
        self.values["source/accuracy_after"] = after.metrics()["accuracy"]
        self.add_or_say("source/accuracy_before", assembly.base.accuracy, "not measured")
        return after


@dataclass(frozen=True)
class OfTheBase:
    """What is known of a base before it is adapted, the same for all runs over it.

    Attributes:
        accuracy_before: on the target's test split, or the main metric of another task; None
            without zero-shot control.
        source: the source task's data; None without one.
    """

    accuracy_before: float | None
    source: AnyBatches | None

    @classmethod
    def of(cls, config: Config, assembly: Assembly, device: torch.device) -> "OfTheBase":
        """Measure and read it.

        Args:
            config: of one of the runs.
            assembly: of that run.
            device: where to compute.
        """
        before = None
        if why_no_zero_shot(assembly) is None:
            base = base_model(config, assembly, len(assembly.data.classes))
            base = ByLength(base) if assembly.adapted.by_length else base
            main = main_metric(assembly.data.task)
            answer = partial(predict, base, assembly.data, device=device)
            # Above thresholds that validation chose, if it takes any, as the trained model answers.
            test = settled(answer("test"), main, lambda: answer("validation"))
            before = test.metrics()[main]
        has_source = why_no_source(config, assembly) is None
        return cls(before, source_data(config, assembly) if has_source else None)


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
