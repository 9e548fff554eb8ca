"""What tests of real clusters share: a study that a command has carried out there."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from adapterlab.studies.tasks.records import Record, read_there, records, tasks_of
from adapterlab.tracking.stores.uris import default_uri
from lab import CHECKOUT, environment

STUDY = (
    "-m", "hydra/launcher=packed", "dataset=digits_rotated", "limit=400", "batch_size=8",
    "base.epochs=2", "optimizer.lr=0.002", "hardware=cpu", "hardware.threads=1",
    "hardware.precision=64-true", "baseline=never", "report=false",
)  # fmt: skip
"""At a rate at which the loss falls. One at which it rises in between makes much of rounding: of
the last digits, in which packs of other company differ, 1e-17 at epoch 9 was 0.1 at epoch 24."""

SWEEP = ("adapter=lora,dora,full,head,bitfit,last_layers", "seed=0,1,2,3")


class Cluster:
    """A study that is carried out on a cluster, and what is done to its tasks.

    Args:
        root: where it is kept.
        study: its name.
        variables: of the command's environment.
        options: that all of its commands have.
    """

    def __init__(
        self,
        root: Path,
        study: str,
        variables: dict[str, str],
        options: tuple[str, ...] = STUDY,
    ) -> None:
        self.root, self.study, self.options = root, study, options
        self.environment = environment(root, **variables)
        self.tasks = tasks_of(root / "mlruns", study)

    def start(self, *options: str) -> "subprocess.Popen[str]":
        train = CHECKOUT / "src" / "train.py"
        return subprocess.Popen(
            [sys.executable, train, *self.options, f"study={self.study}", *options],
            cwd=self.root, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def __call__(self, *command: str) -> str:
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return ended.stdout + ended.stderr

    def runs(self) -> list[Any]:
        return [run for run in self.logged() if run.data.tags["kind"] == "run"]

    def logged(self) -> list[Any]:
        """Return all that MLflow has of the study, with the run that stands for it."""
        client = MlflowClient(default_uri(self.root / "mlruns"))
        experiment = client.get_experiment_by_name("adapterlab")
        if experiment is None:
            return []
        query = f"tags.study = '{self.study}'"
        return list(client.search_runs([experiment.experiment_id], query))

    def of(self, record: Record) -> list[Any]:
        """Return the MLflow runs of a task."""
        hashes = {name.rpartition("-")[2] for name in record.runs}
        return [run for run in self.runs() if run.data.tags["config_hash"] in hashes]

    def going(self) -> list[Record]:
        """Return the tasks that have trained for an eighth of their time, and have more to do."""
        found = []
        for record in records(self.tasks):
            there, runs = read_there(self.tasks, record.id), len(record.runs)
            if there is None or there.state != "going" or record.job is None:
                continue
            if runs / 8 < there.moved < runs * 3 / 4:
                found.append(record)
        return found

    def until(self, what: Callable[[], Any], seconds: float = 300) -> Any:
        limit = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < limit, list(records(self.tasks))
            time.sleep(0.5)
        return found

    def one_going(self, *but: str) -> Record:
        """Wait for a task that is on its way, another than some."""

        def found() -> Record | None:
            return next((one for one in self.going() if one.id not in but), None)

        record: Record = self.until(found)
        return record

    def state(self, record: Record) -> str | None:
        there = read_there(self.tasks, record.id)
        return None if there is None else there.state

    def points(self, run: Any) -> list[Any]:
        """Return what a run has reported of its training loss, by epoch."""
        client = MlflowClient(default_uri(self.root / "mlruns"))
        said = client.get_metric_history(run.info.run_id, "train/loss")
        return sorted(said, key=lambda point: point.step)
