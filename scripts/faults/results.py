"""What is looked at after a fault: results, statuses, files that are whole or are not."""

import json
import sqlite3
from math import isclose
from pathlib import Path

import pyarrow.parquet as pq
from safetensors import safe_open

from adapterlab.base.files import PART
from faults.trying import statuses

Metrics = dict[str, dict[str, float]]


def metrics(root: Path) -> Metrics:
    """Return what each finished run measured, costs left out, by its folder's name."""
    found = {}
    for path in sorted((root / "mlruns" / "runs").glob("*/*/result.json")):
        values = json.loads(path.read_text())["metrics"]
        found[path.parent.name] = {k: v for k, v in values.items() if not k.startswith("cost/")}
    return found


def same(one: Metrics, other: Metrics) -> bool:
    """Say whether the same runs measured the same, up to rounding.

    What is left of a pack trains in another one, whose sums are rounded otherwise.
    """
    return one.keys() == other.keys() and all(
        one[run].keys() == other[run].keys()
        and all(isclose(v, other[run][name], rel_tol=1e-5) for name, v in one[run].items())
        for run in one
    )


def left_running(root: Path) -> int:
    """Return how many runs of a root's store are RUNNING; 0 where there is no store yet."""
    try:
        return sum(status == "RUNNING" for status in statuses(root).values())
    except sqlite3.OperationalError:
        return 0


def doubled(root: Path) -> list[str]:
    """Return the names of runs that a root's store has finished more than once."""
    with sqlite3.connect(f"file:{root / 'mlruns' / 'mlflow.db'}?mode=ro", uri=True) as store:
        rows = store.execute(
            "SELECT name FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
            "WHERE tags.key = 'config_hash' AND lifecycle_stage = 'active' "
            "AND status = 'FINISHED' GROUP BY tags.value HAVING COUNT(*) > 1"
        ).fetchall()
    return [name for (name,) in rows]


def parts(root: Path) -> list[Path]:
    """Return files that were being written and are neither finished nor deleted."""
    return list((root / "mlruns").rglob(f"*{PART}"))


def broken_files(root: Path) -> list[Path]:
    """Return the files of runs, checkpoints among them, that are there and cannot be read."""
    import torch

    broken = []
    for path in (root / "mlruns" / "runs").rglob("*"):
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt") as file:
                    file.keys()
            elif path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix == ".ckpt":
                torch.load(path, weights_only=True)
            elif path.suffix == ".json":
                json.loads(path.read_text())
        except Exception:  # whatever a damaged file makes a reader raise
            broken.append(path)
    return broken


def of_runs(root: Path, study: str) -> list[str]:
    """Return the statuses of a study's runs and of its own; none where there is no store yet."""
    path = root / "mlruns" / "mlflow.db"
    if not path.exists():
        return []
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
            rows = store.execute(
                "SELECT status FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
                "WHERE tags.key = 'study' AND tags.value = ? AND lifecycle_stage = 'active'",
                (study,),
            ).fetchall()
    except sqlite3.OperationalError:
        return []
    return [status for (status,) in rows]
