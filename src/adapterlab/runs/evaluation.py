"""Evaluating a saved run again, from its folder or from MLflow."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.validation import STRICT, checked
from adapterlab.runs.assembly import source_data, source_model
from adapterlab.runs.identity import run_name
from adapterlab.runs.results.measurements import why_no_source
from adapterlab.runs.saved import Rebuilt, SavedRun, rebuild
from adapterlab.training.hardware import choose_device
from adapterlab.training.predicting import predict
from adapterlab.training.task_predictions import above_logged


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request(SavedRun):
    """Which run to evaluate, and on which split; see conf/evaluate.yaml."""

    split: Literal["train", "validation", "test", "source"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of a saved run, measured again.

    Attributes:
        name: the run's name.
        split: what it was evaluated on.
        metrics: by name, such as ``accuracy``.
        logged: those of the same names that the run logged when it was trained.
        notes: what a reader of the figures should know about the data.
    """

    name: str
    split: str
    metrics: Mapping[str, float]
    logged: Mapping[str, float]
    notes: tuple[str, ...]

    def differences(self) -> dict[str, float]:
        """Return by how much metrics differ from the logged ones, where they do."""
        gaps = {name: self.metrics[name] - logged for name, logged in self.logged.items()}
        return {name: gap for name, gap in gaps.items() if gap != 0}


def parse_request(values: Any) -> Request:
    """Check the options of an evaluation.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def evaluate_saved(request: Request) -> Evaluation:
    """Rebuild a saved run's model and evaluate it.

    Raises:
        AdapterLabError: there is no such finished run, or its data or weights are missing.
    """
    rebuilt = rebuild(request)
    config, assembly, logged = rebuilt.config, rebuilt.assembly, rebuilt.result.metrics
    device = choose_device(config.hardware).torch
    if request.split == "source":
        metrics = _source_metrics(rebuilt)
        known = {"accuracy": logged.get("source/accuracy_after")}
    else:
        said = predict(assembly.adapted, assembly.data, request.split, device)
        metrics = above_logged(said, "test", logged, assembly.data.classes).metrics()
        known = {name: logged.get(f"{request.split}/{name}") for name in metrics}
    return Evaluation(
        name=run_name(config),
        split=request.split,
        metrics=metrics,
        logged={name: value for name, value in known.items() if value is not None},
        notes=assembly.notes,
    )


def _source_metrics(rebuilt: Rebuilt) -> dict[str, float]:
    config, assembly = rebuilt.config, rebuilt.assembly
    why = why_no_source(config, assembly)
    if why is not None:
        raise AdapterLabError(f"split=source: {why}")
    device = choose_device(config.hardware).torch
    return predict(
        source_model(config, assembly), source_data(config, assembly), "test", device
    ).metrics()
