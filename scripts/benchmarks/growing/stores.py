"""A store with many runs: those of one study again and again, as other studies'."""

import os
import shutil
import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

PARENT = "mlflow.parentRunId"
OF_RUNS = ("params", "tags", "metrics", "latest_metrics")


def fill(mlruns: Path, study: str, runs: int) -> None:
    """Copy a study's runs, rows of the database and folders, until the store has so many others.

    Args:
        mlruns: of the store.
        study: whose runs are copied; its own stay as they are.
        runs: how many others there are to be, together with those that are there.
    """
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as store, store:
        own = _runs_of(store, study)
        (there,) = store.execute("SELECT count(*) FROM runs").fetchone()
        number = 0
        while there - len(own) < runs:
            name = f"other{there}_{number}"
            _copy(store, own, study, name)
            shutil.copytree(
                mlruns / "runs" / study, mlruns / "runs" / name, copy_function=_same_file
            )
            there, number = there + len(own), number + 1


def _same_file(source: str, target: str) -> None:
    os.link(source, target)


def _runs_of(store: sqlite3.Connection, study: str) -> list[str]:
    """Return a study's runs, and its own run."""
    runs = store.execute(
        "SELECT run_uuid FROM tags WHERE key = 'study' AND value = ?", (study,)
    ).fetchall()
    parents = store.execute(
        f"SELECT DISTINCT value FROM tags WHERE key = '{PARENT}' AND run_uuid IN "
        "(SELECT run_uuid FROM tags WHERE key = 'study' AND value = ?)",
        (study,),
    ).fetchall()
    return list(dict.fromkeys(run for (run,) in (*runs, *parents)))


def _copy(store: sqlite3.Connection, runs: list[str], study: str, name: str) -> None:
    new = {run: uuid.uuid4().hex for run in runs}
    for table in ("runs", *OF_RUNS):
        _copy_rows(store, table, "run_uuid", new, {study: name})
    _copy_rows(store, "inputs", "destination_id", new, {})


def _copy_rows(
    store: sqlite3.Connection,
    table: str,
    column: str,
    new: Mapping[str, str],
    renamed: Mapping[str, str],
) -> None:
    names = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
    holes = ", ".join("?" * len(names))
    known = {**new, **renamed}
    for run in new:
        found = store.execute(f"SELECT * FROM {table} WHERE {column} = ?", (run,)).fetchall()
        rows = [
            [_of_copy(name, value, known) for name, value in zip(names, row, strict=True)]
            for row in found
        ]
        store.executemany(f"INSERT INTO {table} VALUES ({holes})", rows)


def _of_copy(column: str, value: object, known: Mapping[str, str]) -> object:
    """Return a value as the copy has it: another run, another study, and an own key of inputs."""
    if column == "input_uuid":
        return uuid.uuid4().hex
    return known.get(value, value) if isinstance(value, str) else value
