"""What the tests of engines share: a study on one, whose worker is killed in the middle."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import RunLostError
from adapterlab.config.schema import Config
from adapterlab.studies.tasks.engine import Engine, Task
from adapterlab.studies.tasks.records import There, read_there, records, tasks_of
from adapterlab.tracking.stores.uris import default_uri
from lab import TINY, Outcome, tiny

EPOCHS = 15
SWEEP = (
    "-m", "hydra/launcher=packed", "limit=96", f"epochs={EPOCHS}",
    *TINY[3:-1], "base=scratch", "adapter=full", "report=false", "seed=0,1", "batch_size=16,32",
)  # fmt: skip
SECONDS = 600.0  # on a machine with much else to do


def until(what: Callable[[], Any]) -> Any:
    """Wait for something that is true."""
    limit = time.monotonic() + SECONDS
    while not (found := what()):
        assert time.monotonic() < limit
        time.sleep(0.05)
    return found


def process_of(there: There) -> int:
    return int(there.process.split("-")[2])


def statuses(root: Path, study: str) -> list[str]:
    """Return the statuses of a study's runs in MLflow, without the one that stands for it."""
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab")
    if experiment is None:
        return []
    query = f"tags.study = '{study}' and tags.kind = 'run'"
    found = client.search_runs([experiment.experiment_id], query)
    return sorted(run.info.status for run in found)


def metrics_of(root: Path, study: str) -> dict[str, dict[str, float]]:
    found = {}
    for path in (root / "mlruns" / "runs" / study).glob("*/result.json"):
        metrics = json.loads(path.read_text())["metrics"]
        found[path.parent.name] = {k: v for k, v in metrics.items() if not k.startswith("cost/")}
    return found


def first_going(root: Path, study: str) -> There | None:
    """Return what a task says that is at a run, which MLflow knows."""
    runs = root / "mlruns" / "runs" / study
    for record in records(tasks_of(root / "mlruns", study)):
        there = read_there(tasks_of(root / "mlruns", study), record.id)
        begun = any((runs / run / "mlflow_run_id").exists() for run in record.runs)
        if begun and there is not None and there.state == "going":
            return there
    return None


def kill_process(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def a_study_survives_a_worker(
    root: Path,
    run_cli: Callable[..., Outcome],
    *options: str,
    kill: Callable[[int], None] = kill_process,
) -> None:
    """Carry out a study of four runs, kill the first worker, and compare with the local engine."""
    killed: list[int] = []

    def kill_one() -> None:
        there = until(lambda: first_going(root, "there"))
        kill(process_of(there))
        killed.append(process_of(there))

    killer = threading.Thread(target=kill_one)
    killer.start()
    there = run_cli(*SWEEP, *options, "study=there", root=root)
    killer.join()
    assert there.code == 0, there
    assert killed
    assert "it goes on in another" in there.err
    assert "Study there" in there.out
    assert statuses(root, "there") == ["FINISHED"] * 4
    found = list(records(tasks_of(root / "mlruns", "there")))
    assert {record.state for record in found} == {"done"}
    assert sorted(record.attempts for record in found)[-1] == 2
    assert sum(len(record.runs) for record in found) == 4

    here = run_cli(*SWEEP, "hydra.launcher.processes=1", "study=here", root=root)
    assert here.code == 0, here
    reference = metrics_of(root, "here")
    assert len(reference) == 4
    assert metrics_of(root, "there").keys() == reference.keys()
    for name, metrics in metrics_of(root, "there").items():
        assert metrics == pytest.approx(reference[name], rel=1e-4, abs=1e-6)


def endless(root: Path, seed: int) -> Config:
    return tiny(root, "tracking=mlflow", "study=endless", "base=scratch", "epochs=9999",
                f"seed={seed}")  # fmt: skip


def a_cancelled_task_marks_its_runs(engine: Engine, root: Path, folder: Path) -> None:
    """Cancel a task that is carried out, and one that waits; there is room for one at a time."""
    tasks = [Task((endless(root, seed),), packed=False, id=f"t{seed}") for seed in range(2)]
    going, waiting = (engine.submit(task) for task in tasks)
    engine.send()
    until(going.running)
    until(lambda: statuses(root, "endless") == ["RUNNING"])
    assert engine.name(going) != engine.name(waiting)
    assert engine.where(waiting) is None
    assert "a worker of" in str(engine.where(going))
    assert not waiting.running()
    engine.cancel(waiting)
    engine.cancel(going)
    assert waiting.cancelled()
    with pytest.raises(RunLostError):
        going.result(SECONDS)
    assert statuses(root, "endless") == ["KILLED"]
    there = read_there(folder, "t0")
    assert there is not None
    assert there.state == "stopped"
    engine.close()
    assert read_there(folder, "t1") is None
