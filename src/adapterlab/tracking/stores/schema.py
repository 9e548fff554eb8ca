"""The tables of an MLflow store, by the migrations of the MLflow that is installed."""

from functools import lru_cache
from pathlib import Path
from typing import Any

OWN = ("experiments", "runs", "metrics", "params")
"""Some of these tables are in a store from the first moment of its making."""

KEPT = (*OWN, "tags")
"""Tables whose rows no upgrade may take away."""

FILLED = "_alembic_tmp_"
"""Begins the name of a table that a migration fills before it takes another's place."""


def head() -> str:
    """Return the migration that this MLflow's stores are at."""
    return str(_scripts().get_current_head())


def is_known(revision: str | None) -> bool:
    """Say whether this MLflow has a migration, and so whether a store is not of a newer one."""
    from alembic.util import CommandError

    try:
        _scripts().get_revision(revision)
    except CommandError:
        return False
    return True


@lru_cache(maxsize=1)
def _scripts() -> Any:
    """Return MLflow's migrations."""
    import mlflow
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
