"""Makes runs and tasks of a study as they stand while it is under way, without training any."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapterlab.runs.folders.folder import RunFolder
from adapterlab.studies.status.study_status import StudyStatus, study_status
from adapterlab.studies.tasks.commands import FILES
from adapterlab.studies.tasks.records import Record, There, run_names, tasks_of, write, write_there
from adapterlab.tracking.client import connect
from adapterlab.tracking.mlflow_run import tracked
from lab import tiny

ELSEWHERE = "0badcafe-0badcafe-17-99"
"""A process of another host: whether it goes on is not known here."""


class Lab:
    """Makes runs of a study, without training any."""

    def __init__(self, root: Path, study: str) -> None:
        self.root, self.study = root, study
        self.client = connect(None, root / "mlruns")

    def config(self, seed: int) -> Any:
        return tiny(self.root, "tracking=mlflow", f"study={self.study}", f"seed={seed}")

    def name(self, seed: int) -> str:
        return run_names([self.config(seed)])[0]

    def open(self, seed: int, *, epochs: int = 0, process: str | None = None) -> str:
        """Begin a run, as training one does, and leave it RUNNING."""
        config = self.config(seed)
        tags = {"study": self.study, "kind": "run", "arm": "a"}
        tags["config_hash"] = self.name(seed).rpartition("-")[2]
        left: str | None = None
        try:
            with tracked(config, RunFolder.of(config).link, name=f"seed {seed}", tags=tags) as run:
                left = run.run_id
                for epoch in range(1, epochs + 1):
                    run.log(metrics={"train/loss": 1.0}, step=epoch)
                run.end = lambda *_, **__: None  # type: ignore[method-assign]
        finally:
            assert left is not None
            if process is not None:
                self.client.set_tag(left, "process", process)
        return left

    def ended(self, seed: int, status: str, error: str | None = None) -> str:
        run_id = self.open(seed)
        if error is not None:
            self.client.set_tag(run_id, "error", error)
        self.client.set_terminated(run_id, status)
        return run_id

    def task(self, id: str, *seeds: int, state: Any = "waiting", **more: Any) -> Record:
        runs = tuple(self.name(seed) for seed in seeds)
        record = Record(id, "submitit", "17_1", runs, True, state, time.time(), **more)
        write(self.tasks, record)
        return record

    def there(self, id: str, host: str = "n1", state: Any = "going", **more: Any) -> None:
        now = time.time()
        there = There(ELSEWHERE, host, state, 1, now, now)
        write_there(self.tasks, id, replace(there, **more))

    @property
    def tasks(self) -> Path:
        return tasks_of(self.root / "mlruns", self.study)

    @property
    def asked(self) -> Path:
        """The file of the one command that is at the study."""
        (path,) = self.tasks.parent.glob(FILES)
        return path

    def status(self) -> StudyStatus:
        return study_status(self.client, self.root / "mlruns", self.study, "adapterlab")

    def by_seed(self) -> dict[int, tuple[str, str]]:
        """Return how each run stands, and where."""
        seeds = {self.name(seed).rpartition("-")[2]: seed for seed in range(9)}
        found = {}
        for run in self.status().runs:
            end = run.logged.identity[0] if run.logged else run.name.rpartition("-")[2]
            found[seeds[end]] = (run.status, run.node)
        return found

    def open_parent(self) -> None:
        """Leave the study's own run as a multirun has it that is under way."""
        (own,) = self.status().logged.own
        self.client.update_run(own.info.run_id, status="RUNNING")
