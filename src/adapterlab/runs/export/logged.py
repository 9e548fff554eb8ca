"""The MLflow model of a finished run, kept with the run in MLflow and perhaps registered."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterlab.base.errors import AdapterLabError, ConfigError, first_line
from adapterlab.config.parsing import absolute
from adapterlab.runs.export.merged import Request, require_mergeable
from adapterlab.runs.export.mlflow_model import NAME, Served, write_mlflow_model
from adapterlab.runs.saved import rebuild
from adapterlab.tracking.client import connect

MLFLOW = "mlflow"
"""What `to` says to have the model kept in MLflow, rather than in a folder."""


@dataclass(frozen=True)
class Logged:
    """An MLflow model that is kept with its run.

    Attributes:
        name: of the run.
        uri: by which MLflow loads it.
        served: how it agrees with the run, and what it needs.
        registered: by which the registry has it, such as ``models:/reviews/2``; None if it is not.
    """

    name: str
    uri: str
    served: Served
    registered: str | None


def log_model(request: Request) -> Logged:
    """Write the MLflow model of a finished run, and keep it with the run in MLflow.

    Raises:
        AdapterLabError: the run is not in MLflow or has a model already, cannot be merged, or its
            data or weights are missing; or MLflow does not take the model.
        ExportError: what was written answers otherwise than the run.
    """
    client = connect(request.tracking_uri, Path(absolute(request.root)) / "mlruns")
    rebuilt = rebuild(request, require_mergeable)
    run_id = rebuilt.result.run_id
    if run_id is None:
        raise AdapterLabError(
            f"run={request.run} was not tracked, and to={MLFLOW} keeps the model with its MLflow "
            "run; to=FOLDER writes the model alone, mlflow_model=true in training the MLflow model"
        )
    from mlflow.exceptions import MlflowException

    try:
        there = client.list_artifacts(run_id, NAME)
        if there and not request.overwrite:
            raise AdapterLabError(
                f"run={request.run} has an MLflow model already (runs:/{run_id}/{NAME}); "
                "overwrite=true replaces it"
            )
        with tempfile.TemporaryDirectory(prefix="adapterlab-") as scratch:
            folder = Path(scratch) / NAME
            served = write_mlflow_model(rebuilt, folder)
            client.log_artifacts(run_id, str(folder), NAME)
        registered = None
        if request.registered_model_name is not None:
            registered = _registered(client, request.registered_model_name, run_id)
    except MlflowException as error:
        raise AdapterLabError(f"run={request.run}: MLflow says {first_line(error)}") from None
    return Logged(rebuilt.result.name, f"runs:/{run_id}/{NAME}", served, registered)


def _registered(client: Any, name: str, run_id: str) -> str:
    """Make a new version of a registered model, and the model where it is the first."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/{NAME}"
    version = client.create_model_version(name, source, run_id)
    return f"models:/{name}/{version.version}"


def require_folder(request: Request) -> None:
    """Refuse what goes with `to=mlflow` only.

    Raises:
        ConfigError: a name for the registry is given with a folder.
    """
    if request.registered_model_name is not None:
        raise ConfigError(
            f"registered_model_name={request.registered_model_name} goes with to={MLFLOW}"
        )
