"""Sqlite stores as other versions of MLflow leave them, made by MLflow's own migrations."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from adapterlab.tracking.client import quieten
from adapterlab.tracking.stores.uris import sqlite_uri

_FILLED = {
    "status": "FINISHED",
    "lifecycle_stage": "active",
    "source_type": "LOCAL",
    "artifact_location": "file:///nowhere",
    "artifact_uri": "file:///nowhere",
    "workspace": "default",
}
"""Columns that are not left empty."""


def revisions() -> list[str]:
    """Return MLflow's migrations, the oldest first."""
    from adapterlab.tracking.stores.schema import _scripts

    return [script.revision for script in _scripts().walk_revisions()][::-1]


def old_store(path: Path, revision: str, runs: int) -> None:
    """Make a store as an older MLflow left it.

    Args:
        path: the file.
        revision: the last of the migrations that it knew.
        runs: how many runs it holds, each with two parameters, two tags and three metrics.
    """
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    quieten()
    path.parent.mkdir(parents=True, exist_ok=True)
    untyped: Any = utils
    engine = untyped.create_sqlalchemy_engine(sqlite_uri(path))
    Base.metadata.create_all(engine)
    config = untyped._get_alembic_config(sqlite_uri(path))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as store, store:
        _insert(store, "experiments", experiment_id=0, name="Default")
        _insert(store, "experiments", experiment_id=1, name="adapterlab")
        for number in range(runs):
            run = f"{number:032x}"
            own = {"run_uuid": run, "experiment_id": 1, "name": f"run-{number}", "user_id": "u"}
            _insert(store, "runs", start_time=number, end_time=number + 1, **own)
            for key in ("seed", "adapter.rank"):
                _insert(store, "params", run_uuid=run, key=key, value=str(number))
                _insert(store, "tags", run_uuid=run, key=key, value=str(number))
            for step in range(3):
                values = {"run_uuid": run, "key": "val/loss", "value": 1 / (step + 1)}
                _insert(store, "metrics", timestamp=step, step=step, is_nan=0, **values)
            _insert(store, "latest_metrics", timestamp=2, step=2, is_nan=0, **values)


def half_made(path: Path, revision: str, runs: int = 0) -> None:
    """Make a store of which the next migration was killed, so that MLflow cannot go on with it."""
    old_store(path, revision, runs)
    with closing(sqlite3.connect(path)) as store, store:
        names = [name for (name,) in store.execute("SELECT name FROM sqlite_master")]
        later = next(name for name in _tables_of_now() if name not in names)
        store.execute(f'CREATE TABLE "{later}" (id INTEGER)')


def revision_of(path: Path) -> str:
    """Return the migration that a store is at."""
    with closing(sqlite3.connect(path)) as store:
        return str(store.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def runs_of(path: Path) -> list[tuple[Any, ...]]:
    """Return all that a store holds of its runs."""
    query = (
        "SELECT r.run_uuid, r.status, p.key, p.value, m.key, m.step, m.value FROM runs r "
        "JOIN params p ON p.run_uuid = r.run_uuid JOIN metrics m ON m.run_uuid = r.run_uuid "
        "ORDER BY 1, 3, 6"
    )
    with closing(sqlite3.connect(path)) as store:
        return store.execute(query).fetchall()


def _tables_of_now() -> list[str]:
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.tracking.dbmodels import models  # noqa: F401  # it fills the metadata

    return sorted(Base.metadata.tables)


def _insert(store: sqlite3.Connection, table: str, **values: Any) -> None:
    """Insert a row with those of the values that the table has columns for."""
    columns = [row[1] for row in store.execute(f'PRAGMA table_info("{table}")')]
    given = {**_FILLED, **values}
    row = {name: given[name] for name in columns if name in given}
    if row:
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        store.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values()))
