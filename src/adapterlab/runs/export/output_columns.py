"""What an MLflow model answers, for each task: its columns, and how they agree with the run's."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from adapterlab.data.batches import AnyBatches
from adapterlab.runs.export.folder import ExportError
from adapterlab.runs.saved import Rebuilt
from adapterlab.training.predictions import Predictions
from adapterlab.training.task_predictions import logged_limits

TOLERANCE = 1e-4
"""Most that a probability may differ, or a number as it is learnt, in standard deviations."""

ALL = "probabilities"
"""The parameter that asks for the probability of each class."""


def answers_of(rebuilt: Rebuilt, data: AnyBatches) -> dict[str, Any]:
    """Return what turns a run's outputs into answers, as the code in `served` reads it.

    Raises:
        ExportError: the run has logged no thresholds, above which labels are answered.
    """
    said: dict[str, Any] = {"task": data.task, "classes": list(data.classes)}
    if data.task == "regression":
        return said | {"mean": data.scale.mean, "deviation": data.scale.deviation}
    if data.task == "single_label":
        return said
    limits = logged_limits(rebuilt.result.metrics, data.classes)
    if limits is None:
        raise ExportError(
            f"{rebuilt.result.name} has logged no thresholds, above which labels are answered"
        )
    return said | {"thresholds": list(limits)}


def signature_of(examples: Any, said: dict[str, Any]) -> Any:
    """Return MLflow's signature of a model.

    Args:
        examples: of its inputs, a table.
        said: see `answers_of`.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    kinds = {name: "binary" if name == "image" else "string" for name in examples.columns}
    outputs: dict[str, Any] = {"prediction": "double"}
    if said["task"] == "multi_label":
        outputs = {"prediction": Array(DataType.string)}
        outputs |= {f"probability/{name}": "double" for name in said["classes"]}
    elif said["task"] == "single_label":
        outputs = {"prediction": "string", "probability": "double"}
    params: Any = None
    if said["task"] == "single_label":
        params = ParamSchema([ParamSpec(ALL, "boolean", False)])
    taken, given = (
        Schema([ColSpec(kind, name) for name, kind in one.items()]) for one in (kinds, outputs)
    )
    return ModelSignature(inputs=taken, outputs=given, params=params)


def difference(answers: Any, wanted: Predictions, said: dict[str, Any]) -> float:
    """Return the largest difference between what a model answers and what its run says.

    Args:
        answers: a table, with the probability of each class.
        wanted: of the run.
        said: see `answers_of`.

    Raises:
        ExportError: it is more than rounding, or other labels are answered.
    """
    logits = wanted.logits.astype(np.float64)
    if said["task"] == "regression":
        learnt = (logits[:, 0] - said["mean"]) / said["deviation"]
        most = TOLERANCE * said["deviation"] * max(1.0, float(np.abs(learnt).max()))
        return _within(answers["prediction"].to_numpy(np.float64), logits[:, 0], most, "numbers")
    several = said["task"] == "multi_label"
    own = expit(logits) if several else softmax(logits, axis=1)
    columns = [f"probability/{name}" for name in said["classes"]]
    found = _within(answers[columns].to_numpy(np.float64), own, TOLERANCE, "probabilities")
    if several:
        _require_labels(answers["prediction"], own, said)
    return found


def _within(found: Any, wanted: npt.NDArray[np.float64], most: float, what: str) -> float:
    apart = float(np.abs(found - wanted).max())
    if not apart <= most:  # NaN is not
        raise ExportError(
            f"no MLflow model was written: its {what} differ by up to {apart:.3g} from the run's, "
            f"over {len(wanted)} examples; allowed: {most:.3g}"
        )
    return apart


def _require_labels(
    answered: Any, probabilities: npt.NDArray[np.float64], said: dict[str, Any]
) -> None:
    """Refuse other labels than those above their thresholds; rounding may move one at its own."""
    limits = np.array(said["thresholds"])
    sure = np.abs(probabilities - limits) > TOLERANCE
    named = np.array([[name in row for name in said["classes"]] for row in answered])
    if wrong := int(((named != (probabilities > limits)) & sure).any(axis=1).sum()):
        raise ExportError(
            f"no MLflow model was written: it answers other labels than the run for {wrong} of "
            f"{len(named)} examples"
        )
