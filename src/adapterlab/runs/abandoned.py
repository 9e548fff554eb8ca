"""Runs that MLflow shows as RUNNING and that nobody carries out any more.

After ``kill -9`` or a power cut nothing has said how a run ended. Whoever meets it next does: the
next training of the same run, and the report of its study. A run is left alone where its process
may be there: on another host, or in another container of this one.
"""

import json
import logging
from pathlib import Path
from typing import Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.process_identity import PROCESS_TAG, is_elsewhere, is_gone, may_be_at_work
from adapterlab.runs.folder import RunFolder
from adapterlab.tracking.commands_at_work import settle_left
from adapterlab.tracking.servers import journal
from adapterlab.tracking.servers.errors import Trouble, trouble

log = logging.getLogger(__name__)

REPORTED = "train/loss"
"""A metric of every epoch."""


def bury(client: Any, run_id: str) -> bool:
    """Mark a run as KILLED if it is RUNNING, ended when it was last heard of; say whether it was.

    Args:
        client: an MLflow client.
        run_id: of a run whose process is gone; it may have been deleted.
    """
    try:
        info = client.get_run(run_id).info
        if info.status != "RUNNING" or info.lifecycle_stage != "active":
            return False
        heard = [point.timestamp for point in client.get_metric_history(run_id, REPORTED)]
        client.set_terminated(run_id, "KILLED", max([info.start_time, *heard]))
    except Exception as error:
        if trouble(error) is Trouble.GONE:
            return False
        raise
    log.info("MLflow run %s was left RUNNING by a process that died; it is KILLED now", run_id)
    return True


def bury_before(client: Any, experiment: str, folder: RunFolder, tags: dict[str, str]) -> None:
    """Mark what an earlier process has left RUNNING of a run that starts anew.

    Args:
        client: an MLflow client.
        experiment: name of the MLflow experiment.
        folder: of the run; its lock is held, so no process of this host carries it out in there.
        tags: by which its runs are known.
    """
    if (run_id := folder.link.run_id()) is not None:
        if not is_elsewhere(_process(client, run_id)):
            bury(client, run_id)
    elif folder.link.is_lost():
        for run in _running(client, experiment, tags):
            known = run.data.tags
            same = known.get("study") == tags.get("study")  # a query cannot ask for none
            if same and not may_be_at_work(known.get(PROCESS_TAG)):  # under another root
                bury(client, run.info.run_id)


def bury_of_study(client: Any, mlruns: Path, study: str, experiment: str) -> None:
    """Mark the runs of a study that are RUNNING and that nobody carries out, and its own run.

    What waits to be delivered is left alone: it says itself how it ended. That it waits is said.

    Args:
        client: an MLflow client.
        mlruns: the folder that runs of this machine lie under.
        study: its name.
        experiment: name of the MLflow experiment.
    """
    if waiting := len(list(journal.folders(mlruns, [study]))):
        log.warning(
            "study=%s: of %d of its runs MLflow has not got all: `python scripts/sync.py study=%s`",
            study, waiting, study,
        )  # fmt: skip
    here = {id: path for path in (mlruns / "runs" / study).glob("*/") if (id := _id_in(path))}
    for run in _running(client, experiment, {"study": study}):
        process = run.data.tags.get(PROCESS_TAG)
        folder = here.get(run.info.run_id)
        if folder is not None and journal.is_there(folder):
            continue
        if run.data.tags.get("kind") == "study" and settle_left(client, run):
            continue
        # After a restart of the host, process ids say nothing; the lock of a folder still does.
        if is_gone(process) or (folder and not is_elsewhere(process) and _is_free(folder)):
            bury(client, run.info.run_id)


def _running(client: Any, experiment: str, tags: dict[str, str]) -> list[Any]:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    asked = [f"tags.{name} = {json.dumps(value)}" for name, value in tags.items()]
    query = " and ".join([*asked, "attributes.status = 'RUNNING'"])
    return list(client.search_runs([found.experiment_id], query))


def _process(client: Any, run_id: str) -> str | None:
    try:
        process: str | None = client.get_run(run_id).data.tags.get(PROCESS_TAG)
    except Exception as error:
        if trouble(error) is Trouble.GONE:
            return None
        raise
    return process


def _id_in(folder: Path) -> str | None:
    return RunFolder(folder).link.run_id()


def _is_free(folder: Path) -> bool:
    """Say whether no process holds a run's folder."""
    try:
        with RunFolder(folder).lock(wait=False):
            return True
    except (AdapterLabError, OSError):
        return False
