"""Logging to MLflow: which run, and how it ends. `trackers` writes what it reports.

A store on this machine is written by the run itself; what goes to a server is written to a journal
in the run's folder first, and brought to it by a thread: a server that is away holds nothing up.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from adapterlab.base.errors import TrialPrunedError, first_line, with_type
from adapterlab.base.full_disk import last_words
from adapterlab.base.process_identity import PROCESS_TAG, may_be_at_work, this_process
from adapterlab.base.redaction import public, redacted, without_password
from adapterlab.base.signals import at_sudden_end
from adapterlab.config.multirun import current_multirun
from adapterlab.config.parsing import to_container
from adapterlab.config.schema import BASES, Config
from adapterlab.tracking.client import connect, known_experiment, server
from adapterlab.tracking.link import RunLink
from adapterlab.tracking.servers.errors import Trouble, trouble
from adapterlab.tracking.servers.journal import Address, Journal
from adapterlab.tracking.servers.patience import PATIENCE, PatientClient, calm
from adapterlab.tracking.stores.at_once import at_once
from adapterlab.tracking.stores.moved import beside_store
from adapterlab.tracking.stores.uris import artifact_location, default_uri
from adapterlab.tracking.study_run import PARENT, open_study_run, status_after
from adapterlab.tracking.trackers import JournalTracker, MLflowTracker, Tracker, flattened
from adapterlab.tracking.tuning_tags import PRUNED, PRUNED_BEST, PRUNED_EPOCH, trial

log = logging.getLogger(__name__)

IDENTITY = ("config_hash", "data_hash", "kind", "study")
"""Tags by which a run is found again that was killed before its id was written down."""

ALIKE = ("weights_hash", "tokenizer_hash", "base_sha256")
"""Tags in which such a run may not differ; one from before there were these may lack them."""

SPLIT = "pack_split"
"""The tag of a run whose pack ran out of memory: how many lanes that had."""


@contextmanager
def tracked(
    config: Config,
    link: RunLink,
    run_id: str | None = None,
    *,
    name: str,
    tags: Mapping[str, str] | None = None,
    resume: bool = False,
    data: tuple[str, str] | None = None,
) -> Iterator[Tracker]:
    """Open a run's tracker and see that the run does not outlive its process as RUNNING.

    The run has its tags from its first moment, and its configuration as parameters.

    An exception marks it FAILED, with the error's first line as the tag `error`; an interrupt
    (Ctrl-C, SIGTERM) marks it KILLED.

    Args:
        config: of the run.
        link: of the run, whose folder is held.
        run_id: the MLflow run to go on with, when resuming.
        name: the run's name.
        tags: of the run.
        resume: go on with the run of this identity, if `run_id` is not known: a process may have
            been killed between creating the run and writing down its id.
        data: name of the data set that the run reads, and the hash of what is in it.
    """
    if not config.tracking.enabled:
        yield Tracker()
        return
    client = connect(config.tracking.uri, config.mlruns)
    tracker: Tracker | None = None
    multirun = _multirun(config)
    try:
        with calm(client):
            run_id, where, parent = _to_open(client, config, run_id, tags=tags or {}, resume=resume)
            own = {**(tags or {}), **parent, PROCESS_TAG: this_process()}
            if run_id is None:
                link.expect()

            def begin() -> Tracker:
                opened = _opened(client, run_id, where, name, own)
                last = parent.get(PARENT) if multirun is None else None
                tracker = _tracker(client, config, link, opened.info.run_id, name, last)
                known, params = opened.data, flattened(public(to_container(config)))
                tracker.log(
                    # MLflow refuses to change a parameter that is there.
                    params={key: value for key, value in params.items() if key not in known.params},
                    tags={k: value for k, value in own.items() if known.tags.get(k) != value},
                )
                if data is not None:
                    tracker.data(*data)
                return tracker

            tracker = at_once(client, begin)
        with at_sudden_end(partial(tracker.end, "KILLED")):
            yield tracker
    except BaseException as error:
        if tracker is not None:
            # The error itself matters more than a store that cannot take the news.
            with contextlib.suppress(Exception):
                ended = partial(tracker.end, status_after(error), _told(error))
                with at_sudden_end(partial(tracker.end, "KILLED")):
                    last_words(config.mlruns, ended)
        raise
    # A multirun waits for its server once, at its end.
    patience = PATIENCE if multirun is None else 0.0
    last_words(config.mlruns, partial(tracker.end, "FINISHED", patience=patience))


def _tracker(
    client: Any, config: Config, link: RunLink, run_id: str, name: str, parent: str | None
) -> Tracker:
    """Return what writes to an MLflow run, and ends that of its study with it, if one is given."""
    link.remember(run_id)
    if not isinstance(client, PatientClient):
        return MLflowTracker(client, run_id, parent)
    assert config.tracking.uri is not None
    _, courier = server(config.tracking.uri)
    address = Address(run_id, without_password(config.tracking.uri), name, parent)
    return JournalTracker(courier, Journal(link.folder, address))


def mark_lost(
    config: Config, run_id: str | None, error: Exception, *, given_up: bool = False
) -> None:
    """Mark a run as FAILED whose process has died without a word; one that had ended stays.

    Where that cannot be written, a line says so: other runs of a study go on.

    Args:
        config: of the run.
        run_id: its MLflow run; None if it has none.
        error: how the process ended.
        given_up: also one that was interrupted, and that nobody goes on with; not one that a pruner
            has stopped.
    """

    def mark(client: Any, run_id: str) -> None:
        run = client.get_run(run_id)
        status, pruned = run.info.status, trial(PRUNED) in run.data.tags
        if status == "RUNNING" or (given_up and status != "FINISHED" and not pruned):
            if (said := _told(error)) is not None:
                client.set_tag(run_id, "error", said)
            client.set_terminated(run_id, status_after(error))

    _mark(config, run_id, "that its process has died", mark)


def mark_split(config: Config, run_id: str | None, lanes: int) -> None:
    """Write down that a run was begun in a pack that ran out of memory; see `mark_lost`.

    Args:
        config: of the run.
        run_id: its MLflow run; None if it has none.
        lanes: of that pack.
    """
    _mark(
        config, run_id, "that its pack was split",
        lambda client, run_id: client.set_tag(run_id, SPLIT, str(lanes)),
    )  # fmt: skip


def pruned_as(error: TrialPrunedError) -> dict[str, dict[str, Any]]:
    """Return what is logged of a run that a pruner has stopped, which MLflow then has as KILLED."""
    said = f"{error.rule} after epoch {error.epoch} of {error.epochs}"
    metrics = {PRUNED_EPOCH: float(error.epoch), PRUNED_BEST: error.best}
    return {"metrics": metrics, "tags": {trial(PRUNED): said}}


def mark_pruned(config: Config, run_id: str | None, error: TrialPrunedError | None) -> None:
    """Mark a run that was stopped by a process which was killed before it had said so.

    See `mark_lost`; whoever meets the run next marks it again.
    """
    if error is None:
        return
    said = pruned_as(error)

    def mark(client: Any, run_id: str) -> None:
        run = client.get_run(run_id)
        if run.info.status == "FINISHED" or (
            run.info.status == "KILLED" and trial(PRUNED) in run.data.tags
        ):
            return
        for name, value in said["metrics"].items():
            client.log_metric(run_id, name, value)
        for name, value in said["tags"].items():
            client.set_tag(run_id, name, value)
        client.set_terminated(run_id, status_after(error))

    _mark(config, run_id, "that it was pruned", mark)


def _mark(
    config: Config, run_id: str | None, what: str, mark: Callable[[Any, str], object]
) -> None:
    """Mark a run that another process has left; one that the store does not have is none.

    A store that is away, locked or full at this moment is no reason to end a study.

    Args:
        config: of the run.
        run_id: its MLflow run; None if it has none.
        what: is marked, as a clause.
        mark: takes a client and the run's id.
    """
    if run_id is None or not config.tracking.enabled:
        return
    try:
        client = connect(config.tracking.uri, config.mlruns)
        if _is_there(client, run_id):
            mark(client, run_id)
    except Exception as error:
        line = redacted(first_line(error))
        log.warning("MLflow could not be told of run %s %s: %s", run_id, what, line)


def _told(error: BaseException) -> str | None:
    """Return the tag `error` of a run that an exception ends; None for an interrupt."""
    if status_after(error) != "FAILED":
        return None
    return redacted(with_type(error))[:500]


def _to_open(
    client: Any,
    config: Config,
    run_id: str | None,
    *,
    tags: Mapping[str, str],
    resume: bool,
) -> tuple[str | None, str, dict[str, str]]:
    """Return the id of the run to go on with, if any; its experiment, and the tag of its parent."""
    known = None if run_id is None else info_of(client, run_id)
    if known is not None and known.lifecycle_stage == "active":
        return run_id, known.experiment_id, _parent(client, config, known.experiment_id)
    experiment = experiment_id_of(client, config)
    identity = {each: tags[each] for each in IDENTITY if each in tags}
    run_id = _found(client, experiment, identity, tags) if resume and identity else None
    return run_id, experiment, _parent(client, config, experiment)


def _opened(
    client: Any, run_id: str | None, experiment: str, name: str, own: Mapping[str, str]
) -> Any:
    """Return the run to go on with, running again, or a new one with these tags."""
    if run_id is None:
        return client.create_run(experiment, run_name=name, tags=dict(own))
    client.set_tag(run_id, PROCESS_TAG, this_process())
    client.update_run(run_id, status="RUNNING")
    run = client.get_run(run_id)
    for gone in ("error", trial(PRUNED)):
        if gone in run.data.tags:
            client.delete_tag(run_id, gone)
    return run


def _parent(client: Any, config: Config, experiment_id: str) -> dict[str, str]:
    """Return the tag that names the run of a run's study, which is RUNNING; none without one."""
    if config.study is None:
        return {}
    lock, multirun = config.mlruns / ".mlflow.lock", _multirun(config)
    return {PARENT: open_study_run(client, experiment_id, config.study, lock, multirun)}


def _multirun(config: Config) -> str | None:
    """Return the multirun that a run is one of; bases are trained by and by, for many studies."""
    return None if config.study == BASES else current_multirun()


def _is_there(client: Any, run_id: str) -> bool:
    """Say whether the store has a run; people delete runs and move stores."""
    known = info_of(client, run_id)
    return known is not None and known.lifecycle_stage == "active"


def info_of(client: Any, run_id: str) -> Any | None:
    """Return what a store says of a run; None if it has none of this id."""
    try:
        return client.get_run(run_id).info
    except Exception as error:
        if trouble(error) is Trouble.GONE:
            return None
        raise


def _found(
    client: Any, experiment_id: str, identity: Mapping[str, str], tags: Mapping[str, str]
) -> str | None:
    """Return the latest run that has this identity and did not finish, None if there is none.

    The lock of the run's folder is held, but that is of this root: where several share a store, a
    run that is RUNNING may be at work under another.
    """
    asked = [f"tags.{name} = '{value}'" for name, value in identity.items()]
    query = " and ".join([*asked, "attributes.status != 'FINISHED'"])
    for run in client.search_runs([experiment_id], query):
        known = run.data.tags
        if run.info.status == "RUNNING" and may_be_at_work(known.get(PROCESS_TAG)):
            continue
        if known.get("study") != identity.get("study"):  # a query cannot ask for none
            continue
        if all(known.get(name, tags.get(name)) == tags.get(name) for name in ALIKE):
            return str(run.info.run_id)
    return None


def experiment_id_of(client: Any, config: Config) -> str:
    """Return the id of the MLflow experiment that a config names, made if it is not there yet."""
    from mlflow.exceptions import MlflowException

    tracking = config.tracking
    found = known_experiment(client, config)
    if found is None:
        # Artifacts go where the experiment says since it was made, wherever a run is started.
        location = artifact_location(tracking.uri, tracking.artifacts, config.mlruns)
        try:
            tags = beside_store(tracking.uri or default_uri(config.mlruns), location)
            return str(client.create_experiment(tracking.experiment, location, tags=tags))
        except MlflowException:
            # Another process was faster.
            found = known_experiment(client, config)
            if found is None:
                raise
    return str(found.experiment_id)
