"""How a multirun ends: the run that stands for its study has a status, and its table is printed."""

import logging
import sys
from functools import partial
from pathlib import Path

from adapterlab.app.started_studies import StartedStudy
from adapterlab.base.errors import USER_ERROR, AdapterLabError, first_line
from adapterlab.base.full_disk import FullDiskError, last_words, said_where_full
from adapterlab.base.interrupts import HUNG_UP, INTERRUPTED, TERMINATED, UNREAD
from adapterlab.config.schema import BASES
from adapterlab.tracking.servers.journal import folders, left
from adapterlab.tracking.stores.uris import default_uri, sqlite_file
from adapterlab.tracking.study_run import end_multirun, status_after
from adapterlab.tracking.tuning_tags import study_of_trials

log = logging.getLogger(__name__)


def end_study(study: StartedStudy, ended_by: BaseException | None) -> str | None:
    """End a study's MLflow run, and print its table, also where runs have failed.

    What a server that was away has not got of the study's runs is delivered before.

    Args:
        study: of a multirun that has ended.
        ended_by: what has ended it before its time, if anything has.

    Returns:
        Of what MLflow has still not got, a line; None if it has all.
    """
    # After a refusal nothing follows: its line is the last.
    refused = _is_refusal(ended_by)
    if study.tracked or refused:
        kept = close_study(study, ended_by)
        if kept is not None or refused:
            return kept
    if not study.tracked:
        folder = Path(study.root) / "mlruns" / "runs" / study.name
        print(f"tracking=none: there is no table; the runs are in {folder}", file=sys.stderr)
        return None
    for name in study.names:
        _print_table(study, name, ended_by)
    return None


def _print_table(study: StartedStudy, name: str, ended_by: BaseException | None) -> None:
    from adapterlab.app.console import print_report
    from adapterlab.reporting.report import Request, make_report, read_report

    request = Request(
        study=name,
        reference=None,
        experiment=study.experiment,
        tracking_uri=study.tracking_uri,
        root=study.root,
    )
    try:
        with said_where_full():
            report = make_report(request) if study.report else read_report(request)
            print_report(report, _deferred_pictures(study, name))
    except FullDiskError as error:
        if ended_by is not None:  # what has ended it has been said
            log.warning("no report: %s", error)
        else:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
    except AdapterLabError as error:  # no run has finished; why has been said
        log.debug("no table: %s", error)


def _deferred_pictures(study: StartedStudy, name: str) -> dict[str, str]:
    """Return where pictures of runs come from that were left to the report, if there are any."""
    if study.figures != "report":
        return {}
    from adapterlab.base.amounts import counted
    from adapterlab.studies.deferred_pictures import undrawn

    left = undrawn(study.mlruns.parent, name)
    command = f"python scripts/report.py study={name}"
    return {f"pictures of {counted(left, 'run')}": f"drawn by {command}"} if left else {}


def close_study(study: StartedStudy, ended_by: BaseException | None) -> str | None:
    """End a study's MLflow run; what a server that was away has not got is delivered before.

    Args:
        study: of a multirun that has ended.
        ended_by: what has ended it before its time, if anything has.

    Returns:
        Of what MLflow has still not got, a line; None if it has all.
    """
    refused = _is_refusal(ended_by)
    if not study.tracked or (refused and not has_store(study)):
        return None
    kept = _deliver(study)
    if kept is not None:
        log.debug("no table: %s", kept)
        return kept
    end_run(study, ended_by, quiet=refused)
    return None


def _is_refusal(ended_by: BaseException | None) -> bool:
    """Say whether a mistake has ended a multirun; one that was explained is an exit code."""
    if isinstance(ended_by, SystemExit):
        return ended_by.code == USER_ERROR
    return isinstance(ended_by, AdapterLabError) and ended_by.exit_code == USER_ERROR


def _deliver(study: StartedStudy) -> str | None:
    """Deliver what the study's runs have left; return what to say if a server does not take it."""
    mlruns = study.mlruns
    studies = {study.name, study_of_trials(study.name), BASES, *(path.parent.name for path in left)}
    if not any(folders(mlruns, studies)):
        return None
    from adapterlab.runs.folders.undelivered import sync

    return sync(mlruns, studies, study.tracking_uri).complaint


def has_store(study: StartedStudy) -> bool:
    """Say whether a study's store is there: to look into a local one that is not would make it."""
    try:
        file = sqlite_file(study.tracking_uri or default_uri(study.mlruns))
    except AdapterLabError:  # it is no address, so nothing is made there either
        return True
    return file is None or file.is_file()


def end_run(study: StartedStudy, ended_by: BaseException | None, *, quiet: bool = False) -> None:
    """End the MLflow run of a study, or say that it could not be done."""
    from adapterlab.tracking.client import connect

    try:
        client, status = connect(study.tracking_uri, study.mlruns), _status(ended_by)
        end = partial(end_multirun, client, study.experiment, study.name, study.multirun, status)
        last_words(study.mlruns, end)
    except Exception as lost:  # the error that ended the multirun matters more
        level = logging.DEBUG if quiet else logging.WARNING
        log.log(
            level, "the MLflow run of study %s is left RUNNING: %s", study.name, first_line(lost)
        )


def _status(ended_by: BaseException | None) -> str:
    """Return how a multirun ended; an error that was explained has become an exit code."""
    if isinstance(ended_by, SystemExit):
        if not ended_by.code:
            return "FINISHED"
        return "KILLED" if ended_by.code in (HUNG_UP, INTERRUPTED, TERMINATED, UNREAD) else "FAILED"
    return status_after(ended_by)
