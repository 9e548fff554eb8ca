"""What a run reports to: an MLflow run, or nothing."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterlab.interrupts import undisturbed

NOTHING: Mapping[str, Any] = {}


class Tracker:
    """Takes what a run reports. This one keeps nothing: `tracking=none`, the folder is enough."""

    run_id: str | None = None

    def log(
        self,
        *,
        params: Mapping[str, Any] = NOTHING,
        tags: Mapping[str, str] = NOTHING,
        metrics: Mapping[str, float] = NOTHING,
        step: int = 0,
    ) -> None:
        """Log at once a configuration (flattened), tags, and metrics of an epoch or final ones."""

    def data(self, name: str, digest: str) -> None:
        """Name the data set that the run reads, and the hash of what is in it."""

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file with the run, or all that is in a folder."""


class MLflowTracker(Tracker):
    """Writes to one MLflow run.

    Args:
        client: an MLflow client.
        run_id: the run.
    """

    PARAMS_PER_CALL = 100  # MLflow's own limit

    def __init__(self, client: Any, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def log(
        self,
        *,
        params: Mapping[str, Any] = NOTHING,
        tags: Mapping[str, str] = NOTHING,
        metrics: Mapping[str, float] = NOTHING,
        step: int = 0,
    ) -> None:
        """Log in one call, but for more parameters than MLflow takes at once."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        with undisturbed():
            new = [Param(key, str(value)) for key, value in params.items()]
            while len(new) > self.PARAMS_PER_CALL:
                self.client.log_batch(self.run_id, params=new[: self.PARAMS_PER_CALL])
                new = new[self.PARAMS_PER_CALL :]
            self.client.log_batch(
                self.run_id,
                params=new,
                tags=[RunTag(key, value) for key, value in tags.items()],
                metrics=[Metric(key, value, now, step) for key, value in metrics.items()],
            )

    def data(self, name: str, digest: str) -> None:
        """Log it as the run's data set, which MLflow's tables show and group by."""
        from mlflow.entities import Dataset, DatasetInput

        data = Dataset(name, digest, source_type="adapterlab", source=json.dumps({"name": name}))
        with undisturbed():
            self.client.log_inputs(self.run_id, [DatasetInput(data)])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all that is in a folder, to the run's artifacts."""
        log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        with undisturbed():
            log(self.run_id, str(path), folder)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys: ``{"optimizer.lr": 0.001}``.

    A mapping whose keys are patterns (``layers.*``), which MLflow does not take, stays a value.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and all(name.isidentifier() for name in value):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
