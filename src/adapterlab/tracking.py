"""Logging to MLflow: which run, in which store, and how it ends. `trackers` writes what it reports.

The default store is sqlite under the project's mlruns/, because MLflow 3.13 and later refuse the
plain file store.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from adapterlab.beside import cores, submit
from adapterlab.config import BASES, Config
from adapterlab.databases import ready, unusable
from adapterlab.errors import AdapterLabError
from adapterlab.interrupts import undisturbed
from adapterlab.parsing import to_container
from adapterlab.store_uris import artifact_location, is_local, require_within_reach
from adapterlab.store_uris import default_uri as default_uri
from adapterlab.study_run import current_multirun, open_study_run, status_after
from adapterlab.trackers import MLflowTracker, Tracker, flattened

log = logging.getLogger(__name__)

IDENTITY = ("config_hash", "kind", "study")
"""Tags by which a run is found again that was killed before its id was written down."""

PARENT = "mlflow.parentRunId"
"""The tag by which MLflow shows a run below that of its study."""


def connect(uri: str | None, mlruns: Path) -> Any:
    """Return an MLflow client for a tracking URI, or for the store in `mlruns`.

    A new store is set up by one process at a time, whole or not at all.

    Raises:
        AdapterLabError: no store answers at `uri`.
    """
    quieten()
    if uri is not None and not is_local(uri):
        return _reach(uri)
    return _open_store(uri or default_uri(mlruns))


@lru_cache(maxsize=8)
def _open_store(uri: str) -> Any:
    """Return a client for a store that this process writes, the same for all of its runs."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with ready(uri):
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        raise AdapterLabError(unusable(uri, error)) from None
    return client


def set_up_beside(mlruns: Path) -> None:
    """Have the store in `mlruns`, if it is new, set up by a process beside this one."""
    if not (mlruns / "mlflow.db").exists() and cores() > 1:
        submit(set_up, mlruns)


def set_up(mlruns: Path) -> None:
    """Set up the store in `mlruns`, unless that has been done."""
    connect(None, mlruns)


def is_logged(config: Config, run_id: str | None) -> bool:
    """Say whether the store has a run to its end; True where tracking is off.

    A process may be killed after it has written a run's result, and before it has logged it.

    Raises:
        AdapterLabError: no store answers.
    """
    if not config.tracking.enabled:
        return True
    client = connect(config.tracking.uri, config.mlruns)
    if run_id is None or not _is_there(client, run_id):
        return False
    return bool(client.get_run(run_id).info.status == "FINISHED")


def _reach(uri: str) -> Any:
    """Return a client for a store that answers.

    The first call is made without MLflow's retries: they go on for minutes, which is right for a
    server that restarts while a run is logged, and wrong for a misspelt address.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    retries = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(retries)
    os.environ[retries] = "0"
    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except MlflowException as error:
        first_line = str(error).splitlines()[0]
        raise AdapterLabError(f"tracking.uri={uri} cannot be used: {first_line}") from None
    finally:
        os.environ.pop(retries)
        if before is not None:
            os.environ[retries] = before
    return client


def quieten() -> None:
    """Keep MLflow from reporting usage, and from narrating migrations and copies."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def tracked(
    config: Config,
    name: str,
    run_id: str | None = None,
    *,
    tags: Mapping[str, str] | None = None,
    resume: bool = False,
) -> Iterator[Tracker]:
    """Open a run's tracker and see that the run does not outlive its process as RUNNING.

    The run has its tags from its first moment, and its configuration as parameters.

    An exception marks it FAILED, with the error's first line as the tag `error`; an interrupt
    (Ctrl-C, SIGTERM) marks it KILLED.

    Args:
        config: of the run.
        name: the run's name.
        run_id: the MLflow run to go on with, when resuming.
        tags: of the run.
        resume: go on with the run of this identity, if `run_id` is not known: a process may have
            been killed between creating the run and writing down its id.
    """
    if not config.tracking.enabled:
        yield Tracker()
        return
    client, opened = connect(config.tracking.uri, config.mlruns), None
    try:
        with undisturbed():
            opened, parent = _opened(client, config, name, run_id, tags or {}, resume=resume)
        known, tracker = opened.data, MLflowTracker(client, opened.info.run_id)
        params = flattened(to_container(config))
        own = {**(tags or {}), **parent}
        tracker.log(
            # MLflow refuses to change a parameter that is there.
            params={key: value for key, value in params.items() if key not in known.params},
            tags={k: value for k, value in own.items() if known.tags.get(k) != value},
        )
        yield tracker
    except BaseException as error:
        if opened is not None:
            # The error itself matters more than a store that cannot take the news.
            with contextlib.suppress(Exception), undisturbed():
                _end_badly(client, opened.info.run_id, error)
                _end_study_run(client, config, parent, status_after(error))
        raise
    with undisturbed():
        client.set_terminated(opened.info.run_id, "FINISHED")
        _end_study_run(client, config, parent, "FINISHED")


def mark_lost(config: Config, run_id: str | None, error: Exception) -> None:
    """Mark a run as FAILED whose process has died without a word; one that had ended stays."""
    if run_id is None or not config.tracking.enabled:
        return
    client = connect(config.tracking.uri, config.mlruns)
    if _is_there(client, run_id) and client.get_run(run_id).info.status == "RUNNING":
        _end_badly(client, run_id, error)


def _end_badly(client: Any, run_id: str, error: BaseException) -> None:
    """Mark a run as KILLED by an interrupt, or as FAILED with the error's first line."""
    status = status_after(error)
    if status == "FAILED":
        first_line = (str(error).splitlines() or [""])[0]
        client.set_tag(run_id, "error", f"{type(error).__name__}: {first_line}"[:500])
    client.set_terminated(run_id, status)


def _opened(
    client: Any,
    config: Config,
    name: str,
    run_id: str | None,
    tags: Mapping[str, str],
    *,
    resume: bool,
) -> tuple[Any, dict[str, str]]:
    """Return the run to go on with, running again, or a new one, and the tag of its parent."""
    if run_id is None or not _is_there(client, run_id):
        experiment = _experiment_id(client, config)
        identity = {name: tags[name] for name in IDENTITY if name in tags}
        run_id = _found(client, experiment, identity) if resume and identity else None
    if run_id is None:
        parent = _parent(client, config, experiment)
        own = {**tags, **parent}
        return client.create_run(experiment, run_name=name, tags=own), parent
    client.update_run(run_id, status="RUNNING")
    run = client.get_run(run_id)
    if "error" in run.data.tags:
        client.delete_tag(run_id, "error")
    return run, _parent(client, config, run.info.experiment_id)


def _parent(client: Any, config: Config, experiment_id: str) -> dict[str, str]:
    """Return the tag that names the run of a run's study, which is RUNNING; none without one."""
    if config.study is None:
        return {}
    lock, multirun = config.mlruns / ".mlflow.lock", _multirun(config)
    return {PARENT: open_study_run(client, experiment_id, config.study, lock, multirun)}


def _end_study_run(client: Any, config: Config, parent: Mapping[str, str], status: str) -> None:
    """End the run of the study of a run that was started by itself; a multirun ends its own."""
    if parent and _multirun(config) is None:
        client.set_terminated(parent[PARENT], status)


def _multirun(config: Config) -> str | None:
    """Return the multirun that a run is one of; bases are trained by and by, for many studies."""
    return None if config.study == BASES else current_multirun()


def _is_there(client: Any, run_id: str) -> bool:
    """Say whether the store has a run; people delete runs and move stores."""
    from mlflow.exceptions import MlflowException

    try:
        stage = client.get_run(run_id).info.lifecycle_stage
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return bool(stage == "active")


def _found(client: Any, experiment_id: str, identity: Mapping[str, str]) -> str | None:
    """Return the latest run that has these tags and did not finish, None if there is none."""
    tags = [f"tags.{name} = '{value}'" for name, value in identity.items()]
    query = " and ".join([*tags, "attributes.status != 'FINISHED'"])
    for run in client.search_runs([experiment_id], query):
        if run.data.tags.get("study") == identity.get("study"):  # a query cannot ask for none
            return str(run.info.run_id)
    return None


def _experiment_id(client: Any, config: Config) -> str:
    from mlflow.exceptions import MlflowException

    tracking = config.tracking
    found = client.get_experiment_by_name(tracking.experiment)
    if found is None:
        # Artifacts go where the experiment says since it was made, wherever a run is started.
        location = artifact_location(tracking.uri, tracking.artifacts, config.mlruns)
        try:
            return str(client.create_experiment(tracking.experiment, artifact_location=location))
        except MlflowException:
            # Another process was faster.
            found = client.get_experiment_by_name(tracking.experiment)
            if found is None:
                raise
    require_within_reach(
        tracking.uri, tracking.experiment, found.artifact_location, tracking.artifacts
    )
    return str(found.experiment_id)
