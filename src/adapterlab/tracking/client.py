"""The MLflow client for a tracking URI: of a file that this process writes, or of a server.

A database that others serve may go away as an MLflow server may, and is called as one is.

The default store is sqlite under the project's mlruns/, because MLflow 3.13 and later refuse the
plain file store.
"""

import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.base.redaction import remember, without_password
from adapterlab.base.workers import cores, submit
from adapterlab.config.schema import Config
from adapterlab.tracking.servers.courier import Courier
from adapterlab.tracking.servers.patience import PatientClient, set_request_limits
from adapterlab.tracking.stores.databases import is_served, ready, unusable
from adapterlab.tracking.stores.moved import follow_files
from adapterlab.tracking.stores.network_files import require_own_disk
from adapterlab.tracking.stores.uris import (
    artifact_location,
    default_uri,
    is_local,
    named_file,
    not_made,
    require_within_reach,
    sqlite_file,
)


def connect(uri: str | None, mlruns: Path) -> Any:
    """Return an MLflow client for a tracking URI, or for the store in `mlruns`.

    A new store is set up by one process at a time, whole or not at all.

    Raises:
        AdapterLabError: no store answers at `uri`, or this user has no home folder.
    """
    require_home()
    quieten()
    remember(uri)
    if uri is not None and not is_local(uri):
        return _reach(uri)
    client = _open_store(uri or default_uri(mlruns))
    return client if uri is None or not is_served(uri) else _reach(uri)


def connect_to_read(uri: str | None, mlruns: Path, asked: str) -> Any:
    """Return an MLflow client for runs that are there: `connect`, which makes no new store.

    Args:
        uri: of the store; None for the one in `mlruns`.
        mlruns: the folder that everything is written under.
        asked: what is looked for, as it was written: ``study=mine``.

    Raises:
        AdapterLabError: no store answers, or there is none.
    """
    if (file := not_made(uri, mlruns)) is not None:
        raise AdapterLabError(
            f"{asked}: there is no store of runs at {file}; root= (ADAPTERLAB_ROOT) or "
            "tracking_uri= say where one is"
        )
    return connect(uri, mlruns)


def require_home() -> None:
    """Refuse a user without a home folder, which MLflow cannot be imported without.

    Raises:
        ConfigError: there is none.
    """
    try:
        Path.home()
    except RuntimeError:
        raise ConfigError(
            "HOME is not set, and the system knows no home folder of this user: MLflow looks there "
            "for its settings; set HOME=/tmp, or log nothing by tracking=none"
        ) from None


@lru_cache(maxsize=8)
def _open_store(uri: str) -> Any:
    """Return a client for a store that is ready for MLflow, the same for all runs of a process."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    if (file := sqlite_file(uri)) is not None:
        require_own_disk(file)
    try:
        with ready(uri):
            if (named := named_file(uri)) is not None:
                follow_files(named.resolve(), named)
            _make_default_experiment(uri)
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        raise AdapterLabError(unusable(uri, error)) from None
    return client


def _make_default_experiment(uri: str) -> None:
    """Have MLflow's own experiment lie at a URI where the working folder has an odd name.

    MLflow writes that folder into the text of an SQL statement: quotes in it end the statement, and
    a colon after a space names a parameter that it has not got.
    """
    folder = Path.cwd() / "mlruns"
    if (escaped := folder.as_uri()) != f"file://{folder}":
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(uri, escaped)  # type: ignore[no-untyped-call]


def set_up_beside(mlruns: Path) -> None:
    """Have the store in `mlruns`, if it is new, set up by a process beside this one."""
    if not (mlruns / "mlflow.db").exists() and cores() > 1:
        submit(set_up, mlruns)


def set_up(mlruns: Path) -> None:
    """Set up the store in `mlruns`, unless that has been done."""
    connect(None, mlruns)


def _reach(uri: str) -> PatientClient:
    """Return a client for a server that answers, the same for all runs of a process."""
    client, _ = server(uri)
    client.require_answer()
    return client


def server(uri: str) -> tuple[PatientClient, Courier]:
    """Return what calls a server, and what brings runs' reports to it; one of each a process."""
    return _server(uri, os.getpid())


@lru_cache(maxsize=8)
def _server(uri: str, process: int) -> tuple[PatientClient, Courier]:
    """Make both for a process: one that was forked has no thread that works for it."""
    from mlflow import MlflowClient

    set_request_limits()
    return (
        PatientClient(MlflowClient(uri), uri),
        Courier(MlflowClient(uri), without_password(uri)),
    )


def require_store(config: Config) -> None:
    """Ask a server or a database, if runs are logged to one, before anything is trained.

    Raises:
        AdapterLabError: it does not answer, others would not reach the files of runs, it is a file
            on a network file system, or MLflow cannot be imported.
    """
    tracking, mlruns = config.tracking, config.mlruns
    if not tracking.enabled:
        return
    require_home()
    if (file := sqlite_file(tracking.uri or default_uri(mlruns))) is not None:
        require_own_disk(file)
        return
    client = connect(tracking.uri, mlruns)
    if is_local(tracking.uri) and known_experiment(client, config) is None:
        artifact_location(tracking.uri, tracking.artifacts, mlruns)


def known_experiment(client: Any, config: Config) -> Any | None:
    """Return the MLflow experiment that a config names; None if it is not there yet.

    Raises:
        AdapterLabError: it has been deleted, or the files of its runs lie elsewhere than they may.
    """
    tracking = config.tracking
    found = client.get_experiment_by_name(tracking.experiment)
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        raise AdapterLabError(
            f"tracking.experiment={tracking.experiment} has been deleted in MLflow; choose another,"
            f" or `mlflow experiments restore -x {found.experiment_id}`"
        )
    require_within_reach(
        tracking.uri, tracking.experiment, found.artifact_location, tracking.artifacts
    )
    return found


def quieten() -> None:
    """Keep MLflow from reporting usage, and from narrating migrations and copies."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # It would print the server's address as it was given, with a password in it.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It prints the traceback of every error that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
