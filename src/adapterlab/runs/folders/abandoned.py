"""Runs that MLflow shows as RUNNING and that nobody carries out any more.

After ``kill -9`` or a power cut nothing has said how a run ended. Whoever meets it next does: the
next training of the same run, and the report of its study. A run is left alone where its process
may be there: on another host, or in another container of this one.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.locks import process_here
from adapterlab.base.process_identity import (
    DIED,
    PROCESS_TAG,
    is_elsewhere,
    is_gone,
    may_be_at_work,
    number_here,
)
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking.commands_at_work import settle_left
from adapterlab.tracking.servers import journal
from adapterlab.tracking.servers.errors import Trouble, trouble, unless_read_only

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
    here = _folders(mlruns, study)
    for run in _running(client, experiment, {"study": study}):
        process = run.data.tags.get(PROCESS_TAG)
        folder = here.get(run.info.run_id)
        if folder is not None and journal.is_there(folder):
            continue
        if run.data.tags.get("kind") == "study" and settle_left(client, run):
            continue
        # After a restart of the host, process ids say nothing; the lock of a folder still does.
        if is_gone(process) or (folder and not is_elsewhere(process) and _held(folder) is False):
            with unless_read_only("that the process of a run has died is not kept"):
                bury(client, run.info.run_id)


def whereabouts(mlruns: Path, study: str, runs: Mapping[str, str | None]) -> dict[str, str]:
    """Say of runs that MLflow shows as RUNNING whether they are, as far as that is known here.

    A process of this machine tells by its number, and by the lock of the run's folder; what is on
    another host is known there.

    Args:
        mlruns: the folder that runs of this machine lie under.
        study: of the runs.
        runs: the tag `process` of each, by its id.

    Returns:
        What follows the word ``running``; `DIED` where nobody carries it out.
    """
    here = _folders(mlruns, study) if runs else {}
    return {run_id: _whereabouts(process, here.get(run_id)) for run_id, process in runs.items()}


def _whereabouts(process: str | None, folder: Path | None) -> str:
    if (number := number_here(process)) is not None:
        return f"by {process_here(number)}"
    if is_gone(process):
        return DIED
    held = None if folder is None else _held(folder)
    if held:
        return "by a process that holds its folder"
    if is_elsewhere(process):
        return "on another host, unless its process has died there"
    if held is False:
        return DIED
    if process is None:
        return "unless its process has died: it has not said which that is"
    return "unless its process has died: it is of another container, or of before a restart"


def _folders(mlruns: Path, study: str) -> dict[str, Path]:
    """Return the folders of a study's runs on this machine, by the ids of their MLflow runs."""
    return {id: path for path in (mlruns / "runs" / study).glob("*/") if (id := _id_in(path))}


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


def _held(folder: Path) -> bool | None:
    """Say whether a process holds a run's folder; None where that cannot be tried."""
    try:
        with RunFolder(folder).lock(wait=False):
            return False
    except AdapterLabError:
        return True
    except OSError:
        return None
