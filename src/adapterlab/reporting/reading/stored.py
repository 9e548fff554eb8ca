"""The runs of a study as MLflow has them: every configuration once, whatever came of it."""

import json
import logging
import os
import re
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from sys import float_info
from typing import Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.process_identity import DIED, PROCESS_TAG
from adapterlab.config.optimizers import USUAL
from adapterlab.config.tasks import TASKS, main_metric
from adapterlab.reporting.reading.attempts import counted
from adapterlab.reporting.reading.runs import Replicate, Run, Status
from adapterlab.reporting.reading.same_data import in_one_place
from adapterlab.runs.folders.abandoned import whereabouts
from adapterlab.runs.identity import CAME_LATER, OFF_OF_LOSS, OFF_OF_OPTIMIZERS, USUAL_CUT, without
from adapterlab.tracking.searching import searched
from adapterlab.tracking.study_runs import near_studies, study_names
from adapterlab.tracking.trackers import flattened
from adapterlab.tracking.tuning_tags import PRUNED, trial

log = logging.getLogger(__name__)

DIVERGED = "TrainingDivergedError"
"""What the tag `error` of a run begins with whose loss was no longer a number."""

OWN_ERRORS = (
    *(
        "AdapterLabError",
        "ConfigError",
        "DataError",
        "CheckpointError",
        "RunHeldError",
        "RunLostError",
        "TaskStoppedError",
        "TrialPrunedError",
    ),
    *("StoreError", "RunRefusedError", "StoreAwayError", "FullDiskError"),
    *(
        "NothingFinishedError",
        "ExportError",
        "MemoryLackError",
        "DeviceLostError",
        DIVERGED,
    ),
)
"""Errors whose text says all; of others the kind is part of the reason."""


_CAME_LATER = {
    name: str(value)
    for name, value in flattened(CAME_LATER | {"loss": CAME_LATER["loss"] | OFF_OF_LOSS}).items()
}
"""Options that runs of before did not have, and what those did, as MLflow has them."""


def read_runs(client: Any, study: str, experiment: str, mlruns: Path | None = None) -> list[Run]:
    """Return the runs of a study, the latest first, whether they have finished or not.

    A configuration that was run more than once counts once: with its latest run that has
    finished, or else with its latest attempt. On other data, base weights or with another tokenizer
    it is another computation; see `attempts.counted`. The same data at another place is the same.

    Args:
        client: an MLflow client.
        study: the value of the tag `study`.
        experiment: name of the MLflow experiment.
        mlruns: the folder that runs of this machine lie under, whose locks tell which are at work;
            None to ask processes alone.

    Raises:
        AdapterLabError: there are none.
    """
    found = client.get_experiment_by_name(experiment)
    stored = [] if found is None else _search(client, found.experiment_id, study)
    running = {
        raw.info.run_id: raw.data.tags.get(PROCESS_TAG)
        for raw in stored
        if raw.info.status == "RUNNING"
    }
    known = whereabouts(mlruns or Path(os.devnull), study, running)
    attempts: dict[str, list[Run]] = {}
    strange = 0
    for raw in stored:
        if "arm" not in raw.data.tags:
            strange += 1
            continue
        run = _run(raw, client.tracking_uri, known.get(raw.info.run_id, ""))
        attempts.setdefault(run.tags.get("config_hash", run.run_id), []).append(run)
    if strange:
        log.warning("study=%s: %d of its MLflow runs were not logged by adapterlab: left out",
                    study, strange)  # fmt: skip
    if not attempts:
        near = near_studies(study, study_names(client, experiment))
        raise AdapterLabError(f"study={study}: no runs in experiment {experiment}{near}")
    return in_one_place([run for same in attempts.values() for run in counted(same)])


def _run(raw: Any, store: str, whereabouts: str) -> Run:
    tags, metrics = dict(raw.data.tags), dict(raw.data.metrics)
    status, reason = _outcome(raw.info.status, tags)
    # SQL has no infinity: MLflow writes the largest number in its place.
    strange = [name for name, value in metrics.items() if not abs(value) < float_info.max]
    for name in strange:
        tags.setdefault(
            f"missing.{name}", f"it was {'nan' if isnan(metrics.pop(name)) else 'infinite'}"
        )
    lost = [name for name in strange if name in _deciding(raw.data.params)]
    if status is Status.FINISHED and lost:
        status, reason = Status.DIVERGED, f"it finished, but its {lost[0]} is no number"
    if status is Status.RUNNING:
        status = Status.KILLED if whereabouts == DIED else status
        reason = whereabouts
    return Run(
        run_id=raw.info.run_id,
        arm=tags["arm"],
        tags=tags,
        params=_as_of_before(raw.data.params),
        metrics=metrics,
        artifacts=raw.info.artifact_uri,
        store=store,
        status=status,
        reason=reason,
        replicate=_replicate(raw.data.params, tags),
        started=raw.info.start_time or 0,
    )


def _deciding(params: Mapping[str, str]) -> tuple[str, str]:
    """Return the metrics without which a run is compared and selected by nothing."""
    task = next((one for one in TASKS if one == params.get("task")), "single_label")
    main = main_metric(task)
    return f"test/{main}", f"best/val_{params.get('select_on', main)}"


def _as_of_before(params: Mapping[str, str]) -> dict[str, str]:
    """Leave out what runs of before did not say of their optimizer, where it is usual."""
    kept = dict(params)
    for place in ("optimizer", "base.optimizer"):
        if USUAL.get(kept.get(f"{place}.name", "")) == kept.get(f"{place}._target_"):
            kept.pop(f"{place}._target_", None)
        for option, usual in OFF_OF_OPTIMIZERS.items():
            if kept.get(f"{place}.{option}") == str(usual):
                del kept[f"{place}.{option}"]
    return without(kept, _CAME_LATER)


def _outcome(status: str, tags: Mapping[str, str]) -> tuple[Status, str]:
    """Return what came of a run, and why it has not finished."""
    if status == "FINISHED":
        return Status.FINISHED, ""
    if status == "KILLED" and (how := tags.get(trial(PRUNED))):
        return Status.PRUNED, how
    if status == "KILLED":
        return Status.KILLED, "interrupted"
    if status != "FAILED":
        return Status.RUNNING, ""
    error = tags.get("error", "")
    kind, _, text = error.partition(": ")
    own = kind in OWN_ERRORS and text
    reason = (text if own else error) or "it failed and left no reason"
    return Status.DIVERGED if kind == DIVERGED else Status.FAILED, reason


def _replicate(params: Mapping[str, str], tags: Mapping[str, str]) -> Replicate:
    """Return what a run's draws come from; one killed before it was logged has its tag alone."""
    seed = tags.get("seed", "0")
    return Replicate(
        init=_whole(params.get("init_seed", seed)),
        order=_whole(params.get("order_seed", seed)),
        cut=_whole(params.get("dataset.validation_seed", str(USUAL_CUT))),
    )


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"-?\d+", text) else 0


def _search(client: Any, experiment_id: str, study: str) -> list[Any]:
    """Return all runs of a study, the latest first, but for the one that stands for the study."""
    query = f"tags.study = {json.dumps(study)}"
    found = searched(client, experiment_id, query, order_by=["attributes.start_time DESC"])
    return [run for run in found if run.data.tags.get("kind") != "study"]
