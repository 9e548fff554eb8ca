"""The tables of an MLflow store, by the migrations of the MLflow that is installed."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

OWN = ("experiments", "runs", "metrics", "params")
"""Some of these tables are in a store from the first moment of its making."""

KEPT = (*OWN, "tags")
"""Tables whose rows no upgrade may take away."""

FILLED = "_alembic_tmp_"
"""Begins the name of a table that a migration fills before it takes another's place."""


@lru_cache(maxsize=1)
def head() -> str:
    """Return the migration that this MLflow's stores are at.

    It is read from the migrations' own lines, as far as they tell of one and only one: to load
    them, alembic executes them all.
    """
    text = "\n".join(path.read_text("utf-8") for path in _folder().glob("versions/*.py"))
    last = set(_named("revision", text)) - set(_named("down_revision", text))
    return last.pop() if len(last) == 1 else str(_scripts().get_current_head())


def _named(kind: str, text: str) -> list[str]:
    return re.findall(rf"^{kind}\b[^=\n]*= *[\"\'](\w+)[\"\']", text, re.MULTILINE)


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
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(_folder()))


def _folder() -> Path:
    import mlflow

    return Path(mlflow.__file__).parent / "store" / "db_migrations"
