"""Files of sqlite: opened, copied, counted, and put in another's place."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from adapterlab.base.files import flush_one

BUSY = 60.0
"""Seconds to wait for another process that writes to a database."""


def connected(path: Path) -> sqlite3.Connection:
    """Open a database that is there; every statement counts by itself."""
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY, isolation_level=None)


def tables(database: sqlite3.Connection) -> frozenset[str]:
    """Return the names of a database's tables."""
    rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return frozenset(str(name) for (name,) in rows)


def counted(path: Path, names: Iterable[str]) -> dict[str, int]:
    """Count the rows of those of some tables that there are."""
    count = 'SELECT count(*) FROM "{}"'
    with closing(connected(path)) as database:
        there = sorted(tables(database).intersection(names))
        return {name: database.execute(count.format(name)).fetchone()[0] for name in there}


def finished(path: Path) -> frozenset[str]:
    """Return the ids of the runs of a store that have finished, and are not deleted.

    Raises:
        sqlite3.Error: it is no store, or cannot be read.
    """
    query = "SELECT run_uuid FROM runs WHERE status = 'FINISHED' AND lifecycle_stage = 'active'"
    with closing(connected(path)) as database:
        return frozenset(str(name) for (name,) in database.execute(query))


def copy(path: Path, to: Path) -> None:
    """Copy a database as it is between two transactions."""
    with closing(connected(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def keep(path: Path, name: Path) -> None:
    """Give a database that is about to be replaced a second name."""
    try:
        os.link(path, name)
    except OSError:  # not every file system has links
        part = unused(name.with_name(f"{name.name}.part"))
        copy(path, part)
        part.replace(name)


def put(path: Path, place: Path) -> None:
    """Let a database take a place, once it is complete on the disk."""
    flush_one(path)
    path.replace(place)
    flush_one(place.parent)


def remove(path: Path) -> None:
    """Remove a database that is nobody's, and what sqlite may have left beside it."""
    for each in (path, path.with_name(f"{path.name}-journal")):
        with suppress(OSError):
            each.unlink()


def unused(path: Path) -> Path:
    """Return a path, or the first with a number that nothing has."""
    tried, number = path, 1
    while tried.exists():
        number += 1
        tried = path.with_name(f"{path.name}-{number}")
    return tried
