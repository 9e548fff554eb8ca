"""A database as the store: its driver, its address, and its tables, before MLflow is at it.

MLflow goes on trying for minutes where no database answers, and lets several processes make its
tables at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from adapterlab.base.errors import AdapterLabError, first_line
from adapterlab.base.redaction import public_uri
from adapterlab.tracking.stores.schema import KEPT, head, is_known
from adapterlab.tracking.stores.sqlite import whole
from adapterlab.tracking.stores.uris import sqlite_file, without_stray_folders

EXTRAS = {
    "postgresql": "pip install 'adapterlab[postgresql]' brings the one of postgresql://",
    "mysql": "pip install mysqlclient brings the one of mysql://",
    "mssql": "pip install pyodbc brings the one of mssql://",
}
"""What brings the driver of a kind of database; only PostgreSQL's is tested."""

_LOCK = 0x61646C6162  # spells adlab
"""PostgreSQL's number for the lock under which the tables are made."""

_SECONDS = 10
"""How long PostgreSQL's client waits for an address that does not answer."""


@contextmanager
def ready(uri: str) -> Iterator[None]:
    """Hold a store's lock, and see that MLflow can use the store.

    Raises:
        AdapterLabError: there is no driver, no database answers, or its tables are another's.
    """
    if _backend(uri) == "postgres":
        raise AdapterLabError(f"tracking.uri={public_uri(uri)} should begin with postgresql://")
    file = sqlite_file(uri)
    with ExitStack() as stack:
        if file is not None:
            stack.enter_context(whole(file))
            stack.enter_context(without_stray_folders(uri))
        elif is_served(uri):
            stack.enter_context(_served(uri))
        yield


def is_served(uri: str) -> bool:
    """Say whether a store is a database that is served, as PostgreSQL is, and no file."""
    return _backend(uri) in EXTRAS


def _backend(uri: str) -> str:
    return uri.partition(":")[0].partition("+")[0]


@contextmanager
def _served(uri: str) -> Iterator[None]:
    """Hold PostgreSQL's lock, which ends with its transaction, however this process ends."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    engine = _engine(uri)
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise AdapterLabError(unusable(uri, error)) from None
    try:
        with connection:
            if engine.dialect.name == "postgresql":
                lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:number)")
                connection.execute(lock, {"number": _LOCK})
            _require_usable(uri, connection)
            yield
    finally:
        engine.dispose()


def _engine(uri: str) -> Any:
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    backend = _backend(uri)
    try:
        dialect = sqlalchemy.make_url(uri).get_dialect()
        waits = dialect.driver in ("psycopg", "psycopg2")
        connect_args = {"connect_timeout": _SECONDS} if waits else {}
        return sqlalchemy.create_engine(uri, poolclass=NullPool, connect_args=connect_args)
    except NoSuchModuleError:
        raise AdapterLabError(
            f"tracking.uri={public_uri(uri)} names no driver that SQLAlchemy knows; "
            f"such as {backend}://USER:PASSWORD@HOST/NAME"
        ) from None
    except ImportError as error:
        raise AdapterLabError(
            f"tracking.uri={public_uri(uri)} needs a driver that is not installed ({error}); "
            f"{EXTRAS[backend]}"
        ) from None
    except (ArgumentError, ValueError) as error:
        raise AdapterLabError(unusable(uri, error)) from None


def _require_usable(uri: str, connection: Any) -> None:
    """Refuse tables that are of another MLflow or of another program: others may be at work."""
    import mlflow
    import sqlalchemy
    from alembic.migration import MigrationContext

    tables = set(sqlalchemy.inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        return
    found = MigrationContext.configure(connection).get_current_heads()
    revision = found[0] if found else None
    if revision in (None, head()):
        return
    if not is_known(revision):
        what = "a newer MLflow" if tables.intersection(KEPT) else "another program"
        raise AdapterLabError(
            f"tracking.uri={public_uri(uri)} holds the tables of {what} (revision {revision}, "
            f"which MLflow {mlflow.__version__} does not know): "
            "install that MLflow, or name another database"
        )
    raise AdapterLabError(
        f"tracking.uri={public_uri(uri)} holds the tables of an older MLflow (revision "
        f"{revision}), and others may be using it: make a backup, and run `mlflow db upgrade` with "
        "its address"
    )


def unusable(uri: str, error: Exception) -> str:
    """Say in one line why a store cannot be used, without its password."""
    why = first_line(error).replace(uri, public_uri(uri))
    return f"tracking.uri={public_uri(uri)} cannot be used: {why}"
