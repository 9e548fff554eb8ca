"""How the runs of a study stand, as MLflow has them: read by one search, page by page."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from adapterlab.base.process_identity import PROCESS_TAG
from adapterlab.tracking.commands_at_work import MULTIRUN_TAG, Command, at_work, commands
from adapterlab.tracking.searching import searched
from adapterlab.tracking.tuning_tags import PRUNED, trial

REPORTED = "train/loss"
"""A metric of every epoch; its step is the number of epochs that have ended."""

RUNNING, FINISHED = "RUNNING", "FINISHED"

_NEAR, _SHOWN = 3, 8


@dataclass(frozen=True)
class LoggedRun:
    """A run as MLflow has it. Times are in seconds since 1970.

    Attributes:
        run_id: of MLflow.
        name: there.
        identity: the hash of its configuration, which ends the name of its folder, and of its data.
        status: RUNNING, FINISHED, FAILED or KILLED.
        process: that carries it out, as `base.process_identity` names it; None if it is not known.
        began: when it was begun for the first time.
        ended: when it ended; None while it is RUNNING.
        error: what it failed by, in a line; empty if it did not.
        pruned: by which rule and when it was stopped early; empty if it was not.
        epochs: that it trains at most; 0 if that has not been logged.
        epoch: how many of them have ended; looked at while it is RUNNING only.
        heard: when the last of them ended, None if none has.
    """

    run_id: str
    name: str
    identity: tuple[str, str]
    status: str
    process: str | None
    began: float
    ended: float | None = None
    error: str = ""
    pruned: str = ""
    epochs: int = 0
    epoch: int = 0
    heard: float | None = None

    @property
    def share(self) -> float:
        """How much of its training is done, 0 to 1; early stopping may leave some out."""
        return min(self.epoch / self.epochs, 1.0) if self.epochs else 0.0


@dataclass(frozen=True)
class StudyRuns:
    """What MLflow has of a study.

    Attributes:
        own: the runs that stand for the study; one, unless several stores became one.
        runs: the others, each configuration on its data once: the attempt that has finished, else
            the one that is RUNNING, else the latest.
        attempts: all of the others.
    """

    own: tuple[Any, ...] = ()
    runs: tuple[LoggedRun, ...] = ()
    attempts: tuple[LoggedRun, ...] = ()

    @property
    def multiruns(self) -> list[tuple[float, str]]:
        """When those began that are at the study, in that order, and their processes."""
        found = set()
        for run in self.own:
            tags = run.data.tags
            if run.info.status == RUNNING:
                going = at_work(tags)
                if not commands(tags) and MULTIRUN_TAG in tags:  # an older version said no more
                    going = [Command(tags[MULTIRUN_TAG])]
                found |= {(one.began / 1000, one.process) for one in going if one.is_multirun}
        return sorted(found)

    @property
    def multirun(self) -> tuple[float, str] | None:
        """When the first multirun began that is at the study, and its process; None if none is."""
        return next(iter(self.multiruns), None)


def study_runs(client: Any, study: str, experiment: str) -> StudyRuns:
    """Read how the runs of a study stand.

    Args:
        client: an MLflow client.
        study: its name.
        experiment: name of the MLflow experiment.
    """
    own, attempts = [], []
    for run in _search(client, experiment, f"tags.study = {json.dumps(study)}"):
        tags = run.data.tags
        if tags.get("kind") == "study":
            own.append(run)
        elif "arm" in tags:  # others log to MLflow as well
            attempts.append(_logged(run))
    kept: dict[tuple[str, str], LoggedRun] = {}
    for one in attempts:
        known = kept.get(one.identity)
        if known is None or _rank(one) > _rank(known):
            kept[one.identity] = one
    return StudyRuns(tuple(own), tuple(kept.values()), tuple(attempts))


def study_names(client: Any, experiment: str) -> set[str]:
    """Return the names of the studies that MLflow has."""
    found = _search(client, experiment, "tags.kind = 'study'")
    return {run.data.tags["study"] for run in found if "study" in run.data.tags}


def near_studies(study: str, names: Iterable[str]) -> str:
    """Say which studies there are: those of a name like one, else some."""
    known = sorted({*names} - {study})
    if near := get_close_matches(study, known, n=_NEAR):
        return f"; did you mean {' or '.join(near)}?"
    more = ", ..." if len(known) > _SHOWN else ""
    return f"; there are: {', '.join(known[:_SHOWN]) or 'none'}{more}"


def _search(client: Any, experiment: str, query: str) -> Iterator[Any]:
    found = client.get_experiment_by_name(experiment)
    return iter(()) if found is None else searched(client, found.experiment_id, query)


def _logged(run: Any) -> LoggedRun:
    info, tags = run.info, run.data.tags
    epoch, heard = 0, None
    if info.status == RUNNING and REPORTED in run.data.metrics:
        # Only so does MLflow say at which step a metric was last reported, without another call.
        last = next(one for one in run.data.to_proto().metrics if one.key == REPORTED)
        epoch, heard = int(last.step), last.timestamp / 1000
    epochs = run.data.params.get("epochs", "")
    return LoggedRun(
        run_id=info.run_id,
        name=tags.get("mlflow.runName", info.run_id),
        identity=(tags.get("config_hash", info.run_id), tags.get("data_hash", "")),
        status=info.status,
        process=tags.get(PROCESS_TAG),
        began=(info.start_time or 0) / 1000,
        ended=info.end_time / 1000 if info.end_time else None,
        error=tags.get("error", ""),
        pruned=tags.get(trial(PRUNED), "") if info.status == "KILLED" else "",
        epochs=int(epochs) if epochs.isdigit() else 0,
        epoch=epoch,
        heard=heard,
    )


def _rank(run: LoggedRun) -> tuple[bool, bool, float]:
    return run.status == FINISHED, run.status == RUNNING, run.began
