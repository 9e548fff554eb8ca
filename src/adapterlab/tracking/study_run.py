"""The MLflow run that stands for a study: RUNNING while runs of the study are carried out.

A multirun says that it is under way by an environment variable, which its processes inherit. The
first of its runs in each process opens the study's run in its name; when the multirun ends, it ends
all that were opened so. A run that was started by itself opens and ends its study's run itself. So
no run of a pack has a call more.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from adapterlab.base.errors import TrialPrunedError
from adapterlab.base.locks import waited_for
from adapterlab.base.process_identity import PROCESS_TAG, this_process
from adapterlab.base.revision import source_tags
from adapterlab.base.signals import is_ending
from adapterlab.tracking.commands_at_work import (
    MULTIRUN_TAG,
    PREFIX,
    alone,
    commands,
    end_command,
    own_tag,
)
from adapterlab.tracking.searching import searched
from adapterlab.tracking.servers.errors import unless_gone, unless_read_only
from adapterlab.tracking.servers.patience import calm

PARENT = "mlflow.parentRunId"
"""The tag by which MLflow shows a run below that of its study."""


def status_after(error: BaseException | None) -> str:
    """Return the status of what an error has ended, or nothing has."""
    if error is None:
        return "FINISHED"
    stopped = KeyboardInterrupt | SystemExit | TrialPrunedError
    interrupted = isinstance(error, stopped) or is_ending()
    return "KILLED" if interrupted else "FAILED"


def open_study_run(
    client: Any, experiment_id: str, study: str, lock: Path, multirun: str | None
) -> str:
    """Return the run of a study, made by whichever of its runs comes first, and RUNNING.

    Args:
        client: an MLflow client.
        experiment_id: of the MLflow experiment.
        study: its name.
        lock: a file that the processes of this machine hold while they look for it.
        multirun: that carries it out; it is looked for once a process. None for a run that was
            started by itself.
    """
    if multirun is None:
        return _open(client, experiment_id, study, lock, None)
    return _open_once(client, experiment_id, study, lock, multirun)


def _open(client: Any, experiment_id: str, study: str, lock: Path, multirun: str | None) -> str:
    from mlflow.entities import RunTag

    command = multirun or alone(_now())
    tags = {PROCESS_TAG: this_process(), own_tag(command): command, **source_tags()}
    if multirun is not None:
        # It is the process of the multirun that must be there, and not this one.
        tags |= {MULTIRUN_TAG: multirun, PROCESS_TAG: multirun.split("-", 2)[-1]}
    with waited_for(lock, f"the MLflow run of study {study}"):
        found = the_study_run(client, experiment_id, study)
        if found is None:
            start = None if multirun is None else int(multirun.partition("-")[0])
            own = {"study": study, "kind": "study", **tags}
            client.create_run(experiment_id, start_time=start, run_name=study, tags=own)
            # Another machine may have made one in the meantime, which has another lock.
            found = the_study_run(client, experiment_id, study)
            assert found is not None
        run_id, known = str(found.info.run_id), found.data.tags
        new = [RunTag(key, value) for key, value in tags.items() if known.get(key) != value]
        if new:  # another process of the multirun may have been here
            client.log_batch(run_id, tags=new)
            found = client.get_run(run_id)  # who ended it meanwhile may not have seen that
        if found.info.status != "RUNNING":
            client.update_run(run_id, status="RUNNING")
    return run_id


_open_once = lru_cache(maxsize=8)(_open)


def find_study_run(client: Any, experiment: str, study: str) -> Any | None:
    """Return the run that stands for a study, None if there is none, or no experiment of that name.

    Of several, which machines without a shared root may make at the same moment, it is the one that
    began first; of two that did, the one whose id comes first. All machines say the same.
    """
    known = client.get_experiment_by_name(experiment)
    found = [] if known is None else _study_runs(client, known.experiment_id, study)
    return found[0] if found else None


def the_study_run(client: Any, experiment_id: str, study: str) -> Any | None:
    """Return the run that stands for a study, and see that there is no other; None without one.

    The children of others become its own, and what others say of the looks at the study; then they
    are deleted. A process that knew another one goes on to begin runs below that: the end of its
    multirun looks once more, also below those that are deleted.
    """
    from mlflow.entities import RunTag

    first, *others = _study_runs(client, experiment_id, study) or [None]
    if first is None:
        return None
    run_id, own = first.info.run_id, first.data.tags
    for other in [*others, *_study_runs(client, experiment_id, study, deleted=True)]:
        query = f"tags.`{PARENT}` = '{other.info.run_id}'"
        for child in list(searched(client, experiment_id, query)):
            with unless_gone():
                client.set_tag(child.info.run_id, PARENT, run_id)
    for other in others:
        kept = ("study.", PREFIX)
        told = {key: value for key, value in other.data.tags.items() if key.startswith(kept)}
        if said := [RunTag(key, value) for key, value in told.items() if key not in own]:
            client.log_batch(run_id, tags=said)
        with unless_gone():  # another machine may have seen it as well
            client.delete_run(other.info.run_id)
    return first


def _study_runs(client: Any, experiment_id: str, study: str, *, deleted: bool = False) -> list[Any]:
    from mlflow.entities import ViewType

    query = f"tags.study = {json.dumps(study)} and tags.kind = 'study'"
    stage = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    found = searched(client, experiment_id, query, run_view_type=stage)
    return sorted(found, key=lambda run: (run.info.start_time or 0, run.info.run_id))


def end_multirun(client: Any, experiment: str, study: str, multirun: str, status: str) -> None:
    """End the run of every study that a multirun has carried out, unless others are at it.

    One that is called like its study and still RUNNING is ended too: an earlier process may have
    been killed, and this one may have found nothing left to do.

    Args:
        client: an MLflow client.
        experiment: name of the MLflow experiment.
        study: the multirun's, as its configuration says; single jobs may name others.
        multirun: its name.
        status: how it ended; FINISHED becomes FAILED for a study of which runs have failed.
    """
    with calm(client):
        found = client.get_experiment_by_name(experiment)
        if found is None:  # no run has begun
            return
        the_study_run(client, found.experiment_id, study)
        running = "tags.kind = 'study' and attributes.status = 'RUNNING'"
        for run in list(searched(client, found.experiment_id, running)):
            tags = run.data.tags
            if own_tag(multirun) in tags or tags["study"] == study:
                end_command(client, run.info.run_id, multirun, status)


def end_alone(client: Any, run_id: str, study_run: str, status: str, at: int) -> None:
    """End the run of a study to which a run belonged that was started by itself.

    Args:
        client: an MLflow client.
        run_id: of that run, which has ended.
        study_run: the id of its study's run; it may have been deleted.
        status: that the run has ended with.
        at: when, in milliseconds.
    """
    with unless_gone():
        run, known = client.get_run(run_id), client.get_run(study_run).data.tags
        name = alone(run.info.start_time or at, run.data.tags.get(PROCESS_TAG))
        before = commands(known).get(own_tag(name))
        end_command(client, study_run, before.name if before else name, status, at)


def log_report(
    client: Any,
    study: str,
    experiment: str,
    folder: Path,
    verdict: Sequence[str],
    names: Mapping[str, tuple[str, str]],
    metrics: Mapping[str, float],
) -> None:
    """Keep a study's report with the run that stands for the study, and its verdict as the note.

    Only now is it known in what the arms differ, so only now can runs be named by it. A study whose
    runs have no parent keeps its report in the folder alone.

    Args:
        client: an MLflow client.
        study: its name.
        experiment: name of the MLflow experiment.
        folder: of the report.
        verdict: sentences, at least one.
        names: arm and name, by run id, of the runs that are called otherwise so far.
        metrics: the study's figures, logged as ``study/NAME``. One that an earlier report had, and
            this one lacks, becomes NaN.
    """
    from mlflow.entities import Metric, RunTag

    run = find_study_run(client, experiment, study)
    with unless_read_only("MLflow has neither this report nor its names of runs"), calm(client):
        for run_id, (arm, name) in names.items():
            tags = [RunTag("arm_name", arm), RunTag("mlflow.runName", name)]
            with unless_gone():
                client.log_batch(run_id, tags=tags)
        if run is None:
            return
        run_id = run.info.run_id
        client.log_artifacts(run_id, str(folder), "report")
        earlier = (name for name in run.data.metrics if name.startswith("study/"))
        values = dict.fromkeys(earlier, float("nan"))
        values |= {f"study/{name}": value for name, value in metrics.items()}
        now = _now()
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, now, 0) for name, value in values.items()],
            tags=[RunTag("mlflow.note.content", _note(run.info.experiment_id, run_id, verdict))],
        )


def _note(experiment_id: str, run_id: str, verdict: Sequence[str]) -> str:
    """Return what the study's page in MLflow says, in the Markdown that it takes.

    The page shows five lines of a note and folds the rest. So the link and the first sentence share
    a line, and there is no space between sentences.
    """
    # Opened in a new tab, in which MLflow would otherwise show its menu for language models.
    page = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/report/report.html"
    link = f"[Open the report]({page}?workflowType=machine_learning)"
    first, *rest = map(_literal, verdict)
    return "  \n".join([f"{link}: {first}", *rest])


def _literal(sentence: str) -> str:
    """Return a sentence with names of arms that stand for themselves: ``layers.*``."""
    return re.sub(r"([\\`*_\[\]>#|~])", r"\\\1", sentence).replace("<", "&lt;")


def _now() -> int:
    """Return the milliseconds that MLflow counts."""
    return int(time.time() * 1000)
