"""A sqlite store is made whole or not at all, and upgraded as a copy that then takes its place.

MLflow sets a database up by some seventy migrations in place. A process that is killed in between
leaves tables with which no MLflow starts again; here it leaves a file aside that is made anew.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterlab.base.errors import AdapterLabError, first_line
from adapterlab.base.files import NOT_WRITABLE
from adapterlab.base.locks import waited_for
from adapterlab.tracking.stores import sqlite_files
from adapterlab.tracking.stores.schema import FILLED, KEPT, OWN, head, is_known
from adapterlab.tracking.stores.uris import sqlite_uri, without_stray_folders

log = logging.getLogger(__name__)

QUIET = 3.0
"""Seconds without a change after which no other program is at work on a store's tables."""


class StoreError(AdapterLabError):
    """A store cannot be used as it is; the text says what to do."""


@dataclass(frozen=True)
class _State:
    """What is in a database.

    Attributes:
        tables: their names.
        revision: the migration that they are at; None before the first.
        version: sqlite's own, which changes with every change of the tables.
    """

    tables: frozenset[str]
    revision: str | None
    version: int


@contextmanager
def whole(db: Path) -> Iterator[None]:
    """Hold a store's lock, and see that the store is there and as this MLflow wants it.

    One that is not there is made. One of an older MLflow is upgraded, and kept beside it as it was.
    One that is half-made, as older versions left it when they were killed, is set aside and made
    anew if it holds no runs.

    Args:
        db: the file, links followed.

    Raises:
        StoreError: it is no store, of a newer MLflow, or half-made with runs in it; or the folder
            or the file cannot be written.
    """
    with ExitStack() as stack:
        try:
            db.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(waited_for(lock_of(db), f"the store {db}"))
            _make_whole(db)
        except OSError as error:
            _require_readable(db, error)
        yield


def lock_of(db: Path) -> Path:
    """Return the file that is locked while a store is made; older versions lock the same."""
    return db.with_name(f".{db.stem}.lock")


def _require_readable(db: Path, error: OSError) -> None:
    """Accept that a folder cannot be written where the store in it is whole, and can be read."""
    if error.errno not in NOT_WRITABLE or not os.path.isfile(db):  # noqa: PTH113  # it never raises
        place = error.filename or db
        raise StoreError(f"the store cannot be made: {place}: {error.strerror}") from None
    if (state := _look(db)) is None or state.revision != head():
        raise StoreError(f"{db} has to be upgraded, and its folder cannot be written")


def _make_whole(db: Path) -> None:
    state = _look(db)
    if state is not None and state.revision != head():
        state = _at_rest(db, state)
    try:
        if state is None or not state.tables:
            sqlite_files.put(_made(db), db)
        elif state.revision != head():
            _require_known(db, state)
            _upgrade(db, state)
    finally:
        sqlite_files.remove(_aside(db))


def _look(db: Path) -> _State | None:
    """Read what is in a file; None if there is none.

    Raises:
        StoreError: it is a folder, or no database, or cannot be read.
    """
    if not db.exists():
        return None
    if not db.is_file():
        raise StoreError(f"{db} should be the store's file, and is none: move it away")
    try:
        with closing(sqlite_files.connected(db)) as store:
            tables = sqlite_files.tables(store)
            (version,) = store.execute("PRAGMA schema_version").fetchone()
            found = None
            if "alembic_version" in tables:
                found = store.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise StoreError(
            f"{db} cannot be read as a store: {error}; move it away to begin a new one, or put "
            "back a copy"
        ) from None
    return _State(tables, found[0] if found else None, version)


def _at_rest(db: Path, state: _State) -> _State | None:
    """Wait until nobody changes a store's tables: `mlflow ui` makes a store in place."""
    seen, since = state, time.monotonic()
    while time.monotonic() < since + QUIET:
        time.sleep(0.1)
        now = _look(db)
        if now is None or now.revision == head():
            return now
        if now.version != seen.version:
            seen, since = now, time.monotonic()
    return seen


def _require_known(db: Path, state: _State) -> None:
    """Refuse what is another program's database, or a newer MLflow's."""
    import mlflow

    names = {name.removeprefix(FILLED) for name in state.tables}
    if not names.intersection(OWN):
        some = ", ".join(sorted(names)[:3])
        raise StoreError(
            f"{db} is the database of another program (tables: {some}): move it away, or let "
            "tracking.uri name another file"
        )
    if not is_known(state.revision):
        raise StoreError(
            f"{db} was last used by a newer MLflow than the {mlflow.__version__} that is installed "
            f"(which does not know the store's revision {state.revision}): install that one, or "
            "let root or tracking.uri name another store"
        )


def _upgrade(db: Path, state: _State) -> None:
    """Let a migrated copy of a store take its place; nobody writes in between."""
    import mlflow

    aside = _aside(db)
    with _held(db):
        sqlite_files.remove(aside)
        sqlite_files.copy(db, aside)
        _mend(aside)
        before = sqlite_files.counted(aside, KEPT)
        why = _why_not(aside, before)
        if why is None:
            kept = sqlite_files.unused(db.with_name(f"{db.name}.before-{state.revision}"))
            said = f"{db} was upgraded for MLflow {mlflow.__version__}; as it was before: {kept}"
        elif before.get("runs", 0) == 0:
            _made(db)
            kept = sqlite_files.unused(db.with_name(f"{db.name}.half-made"))
            said = f"{db} was half-made and held no runs: set aside as {kept}, and made anew"
        else:
            raise StoreError(
                f"{db} is half-made and holds runs ({before['runs']}), so it was left as it is "
                f"({why}): `sqlite3 {db} .dump` shows them, their files are in {db.parent}; put "
                "back a copy from before, or move it away to begin a new store"
            )
        aside.chmod(db.stat().st_mode)
        sqlite_files.keep(db, kept)
        sqlite_files.put(aside, db)
    log.warning("%s", said)


def _why_not(aside: Path, before: dict[str, int]) -> str | None:
    """Migrate a copy; return why it cannot take the place of its original, None if it can."""
    try:
        _migrate(aside)
    except StoreError as error:
        return str(error)
    after = sqlite_files.counted(aside, KEPT)
    lost = [name for name, rows in before.items() if after.get(name, 0) < rows]
    return f"rows of {', '.join(lost)} would be lost" if lost else None


def _made(db: Path) -> Path:
    """Have MLflow set up a store beside `db`, where a killed process may have left another."""
    aside = _aside(db)
    sqlite_files.remove(aside)
    aside.touch()  # where it cannot be made, MLflow would try for minutes
    _migrate(aside)
    return aside


def _aside(db: Path) -> Path:
    """Return where a store is made before it takes its place; whoever has the lock owns it."""
    return db.with_name(f"{db.name}.new")


def _migrate(path: Path) -> None:
    """Bring a database that nobody else knows of to MLflow's newest tables, and check it.

    Raises:
        StoreError: the migrations fail; the file is left as they did.
    """
    from mlflow.db import upgrade
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = sqlite_uri(path)
    run: Any = upgrade.callback
    try:
        with without_stray_folders(uri):
            run(uri)
        with closing(sqlite_files.connected(path)) as made:
            ((found,),) = made.execute("PRAGMA quick_check(1)").fetchall()
    except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        raise StoreError(f"{path.parent}: {first_line(error)}") from None
    state = _look(path)
    if found != "ok" or state is None or state.revision != head():
        raise StoreError(f"{path} did not become a store: {found}")


def _mend(aside: Path) -> None:
    """Finish in a copy what a killed migration began with a table.

    The table that is filled aside is complete when the one whose place it takes is dropped.
    """
    with closing(sqlite_files.connected(aside)) as store:
        names = sqlite_files.tables(store)
        for name in sorted(name for name in names if name.startswith(FILLED)):
            place = name.removeprefix(FILLED)
            if place in names:
                store.execute(f'DROP TABLE "{name}"')
            else:
                store.execute(f'ALTER TABLE "{name}" RENAME TO "{place}"')


@contextmanager
def _held(db: Path) -> Iterator[None]:
    """Keep others from writing to a database, and its file from needing others beside it."""
    with closing(sqlite_files.connected(db)) as held:
        try:
            held.execute("PRAGMA journal_mode = DELETE")  # a log beside it would outlive the file
            held.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreError(
                f"{db} has to be upgraded, and cannot be: {error}; end what uses it, such as "
                "mlflow ui, and see that it can be written"
            ) from None
        yield
