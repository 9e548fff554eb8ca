"""Runs that a store has to their end: asked one by one, and all of a study at once."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.tracking import finished_runs
from adapterlab.tracking.client import connect
from adapterlab.tracking.finished_runs import Logged, is_logged
from lab import tiny


@contextmanager
def one_by_one(patch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """Yield the runs that MLflow itself is asked for."""
    asked: list[str | None] = []

    def ask(config: Any, run_id: str | None) -> bool:
        asked.append(run_id)
        return is_logged(config, run_id)

    with patch.context() as changed:
        changed.setattr(finished_runs, "is_logged", ask)
        yield asked


def runs_of(client: MlflowClient) -> dict[str, str]:
    experiment = client.create_experiment("e")
    runs = {
        status: client.create_run(experiment).info.run_id
        for status in ("FINISHED", "FAILED", "KILLED", "RUNNING", "deleted")
    }
    for status, run in runs.items():
        if status != "RUNNING":
            client.set_terminated(run, "FINISHED" if status == "deleted" else status)
    client.delete_run(runs["deleted"])
    return runs


def test_all_at_once_says_what_one_by_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path, "tracking=mlflow")
    client = connect(None, config.mlruns)
    runs = {**runs_of(client), "unknown": "0" * 32, "none": None}
    has = Logged()
    with one_by_one(monkeypatch) as asked:
        for status, run in runs.items():
            assert has(config, run) is (status == "FINISHED") is is_logged(config, run)
        assert asked == [run for status, run in runs.items() if status != "FINISHED"]
    client.set_terminated(runs["RUNNING"], "FINISHED")  # by another process, since
    assert has(config, runs["RUNNING"])


def test_a_store_with_other_tables_is_asked_run_by_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path, "tracking=mlflow")
    runs = runs_of(connect(None, config.mlruns))

    def other(path: Path) -> frozenset[str]:
        raise sqlite3.OperationalError("no such column: run_uuid")

    monkeypatch.setattr(finished_runs, "finished", other)
    with one_by_one(monkeypatch) as asked:
        has = Logged()
        assert has(config, runs["FINISHED"])
        assert not has(config, runs["FAILED"])
        assert asked == [runs["FINISHED"], runs["FAILED"]]


def test_without_tracking_all_is_logged(tmp_path: Path) -> None:
    assert Logged()(tiny(tmp_path, "tracking=none"), None)
    assert not (tmp_path / "mlruns").exists()


def test_a_printed_table_is_made_without_what_draws() -> None:
    program = "import adapterlab.app.console, adapterlab.reporting.report, sys; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "matplotlib" not in ended.stdout.split()
