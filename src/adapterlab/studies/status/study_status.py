"""How a study stands: which of its runs are done, going, waiting or failed, where, and until when.

From the store alone: what MLflow has, and what commands and tasks have written down beside it. No
process and no cluster is asked, so it can be looked at from any machine that has both.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from adapterlab.base.process_identity import DIED, host_of, is_gone, this_process
from adapterlab.studies.status.time_left import TimeLeft, time_left, typical_seconds, why_untold
from adapterlab.studies.tasks.commands import Asked, read_asked
from adapterlab.studies.tasks.records import (
    ENDED,
    Record,
    State,
    There,
    read_there,
    records,
    state_of,
    tasks_of,
)
from adapterlab.tracking.study_runs import FINISHED, RUNNING, LoggedRun, StudyRuns, study_runs

RunStatus = Literal["done", "pruned", "going", "waiting", "failed", "killed", "not begun"]

OPEN: tuple[RunStatus, ...] = ("going", "waiting")
"""A run that is on its way."""

_OVER: tuple[RunStatus, ...] = ("done", "pruned")
"""A run that nothing is left of to do."""

NOWHERE = "-"
"""The node of a run that has none yet, or of which it is not known."""

_NOTHING, _LOADING = TimeLeft(), TimeLeft(why="training has not begun")
"""Of a run that is not going, and of one of which MLflow has nothing yet."""


@dataclass(frozen=True)
class TaskOf:
    """A task of a study, as it was written down.

    Attributes:
        record: what its command has said of it.
        there: what it has said of itself; None if it has not begun.
        state: of it.
    """

    record: Record
    there: There | None
    state: State


@dataclass(frozen=True)
class RunInStudy:
    """How a run stands.

    Attributes:
        name: of the run.
        status: done, failed, ...; see `RunStatus`.
        node: that it was begun on.
        why: it has failed or was killed, in a line; empty otherwise.
        logged: what MLflow has of it; None if it has nothing.
        task: that it is in; None of a run of a command's own machine.
        time: that it will take, as far as is known, if it is going.
    """

    name: str
    status: RunStatus
    node: str = NOWHERE
    why: str = ""
    logged: LoggedRun | None = None
    task: TaskOf | None = None
    time: TimeLeft = _NOTHING

    @property
    def left(self) -> float | None:
        """Seconds until it has ended; None if nothing tells."""
        return self.time.seconds

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.status in ("waiting", "not begun") or self.logged is None:
            return 0.0
        return self.logged.share if self.status == "going" else 1.0


@dataclass(frozen=True)
class StudyStatus:
    """How a study stands.

    Attributes:
        study: its name.
        runs: of the study, those begun first in front.
        left: seconds until it has ended at the pace so far; None if that is not known.
        logged: what MLflow has of it.
        tasks: that were written down.
        asked: what the commands of this root were asked for that are at it, or were last.
    """

    study: str
    runs: tuple[RunInStudy, ...]
    left: float | None
    logged: StudyRuns
    tasks: tuple[TaskOf, ...]
    asked: tuple[Asked, ...]

    def count(self, status: RunStatus, node: str | None = None) -> int:
        """Return how many runs stand so, of a node or of all."""
        return sum(run.status == status and node in (None, run.node) for run in self.runs)

    @property
    def nodes(self) -> list[str]:
        """Where its runs were begun, in the order of their names; those begun nowhere last."""
        found = {run.node for run in self.runs}
        return [*sorted(found - {NOWHERE}), *([NOWHERE] if NOWHERE in found else [])]

    @property
    def is_open(self) -> bool:
        """Whether any of its runs is on its way, or a multirun is at it that may begin more."""
        multirun = self.logged.multirun
        more = multirun is not None and not is_gone(multirun[1])
        return more or any(run.status in OPEN for run in self.runs)

    @property
    def is_done(self) -> bool:
        """Whether all of its runs have finished, or were stopped by a pruner."""
        return all(run.status in _OVER for run in self.runs)

    @property
    def why_untold(self) -> str:
        """Why the time left is not known of all that is under way; empty where it is."""
        going = [run.time for run in self.runs if run.status == "going"]
        return why_untold(going, waiting=self.left is None and self.count("waiting") > 0)

    def left_on(self, node: str) -> float | None:
        """Return the seconds until what goes on a node has ended, as far as that is known."""
        return _longest([run.left for run in self.runs if run.node == node])


def study_status(client: Any | None, mlruns: Path, study: str, experiment: str) -> StudyStatus:
    """Read how a study stands.

    Args:
        client: an MLflow client; None where there is no store.
        mlruns: the folder that everything is written under.
        study: its name.
        experiment: name of the MLflow experiment.
    """
    logged = StudyRuns() if client is None else study_runs(client, study, experiment)
    folder = tasks_of(mlruns, study)
    known = [(record, read_there(folder, record.id)) for record in records(folder)]
    tasks = [TaskOf(record, there, state_of(record, there)) for record, there in known]
    hosts = {host_of(run.process) for run in logged.runs if run.status == RUNNING}
    return status_of(study, logged, tasks, read_asked(mlruns, study, hosts), time.time())


def status_of(
    study: str, logged: StudyRuns, tasks: Sequence[TaskOf], asked: Sequence[Asked], now: float
) -> StudyStatus:
    """Return how a study stands, by what is known of it.

    Args:
        study: its name.
        logged: what MLflow has of it.
        tasks: in the order in which they were submitted.
        asked: what its commands were asked for.
        now: in seconds since 1970.
    """
    since = _since(logged, [task for task in tasks if task.state not in ENDED], asked)
    found = _Known(logged, tasks, asked, since, now).runs()
    left = _left(found, since, now)
    return StudyStatus(study, tuple(found), left, logged, tuple(tasks), tuple(asked))


class _Named(NamedTuple):
    """Where a run is named beside MLflow."""

    task: TaskOf | None = None
    asked: tuple[Asked, ...] = ()


class _Known:
    """All that is known of a study, run by run."""

    def __init__(
        self,
        logged: StudyRuns,
        tasks: Sequence[TaskOf],
        asked: Sequence[Asked],
        since: float | None,
        now: float,
    ) -> None:
        self._logged, self._since, self._now = logged.runs, since, now
        self._typical = typical_seconds(logged.runs, since)
        self._hosts = {host_of(this_process()): socket.gethostname()}
        self._hosts |= {
            host_of(task.there.process): task.there.host for task in tasks if task.there
        }
        # By the hash that ends a folder's name; of several tasks the latest is the run's own.
        names = [*(name for one in asked for name in one.runs), *_names(tasks)]
        self._names = {_hash(name): name for name in names}
        self._by_task = {_hash(name): task for task in tasks for name in task.record.runs}
        self._asked: dict[str, tuple[Asked, ...]] = {}
        for one in asked:
            for end in {_hash(name) for name in one.runs}:
                self._asked[end] = (*self._asked.get(end, ()), one)

    def runs(self) -> list[RunInStudy]:
        """Return how each stands."""
        known = sorted(self._logged, key=lambda run: run.began)
        found = [self._of(run.identity[0], run.name, run) for run in known]
        seen = {run.identity[0] for run in known}
        found += [self._of(end, name, None) for end, name in self._names.items() if end not in seen]
        return found

    def _of(self, end: str, name: str, run: LoggedRun | None) -> RunInStudy:
        task = self._by_task.get(end)
        status, why = self._status_of(_Named(task, self._asked.get(end, ())), run)
        node = self._node(run, task) if status != "waiting" else NOWHERE
        left = _NOTHING
        if status == "going":
            left = _LOADING if run is None else self._left_of(run, task)
        return RunInStudy(name, status, node, why, run, task, left)

    def _status_of(self, named: _Named, run: LoggedRun | None) -> tuple[RunStatus, str]:
        task = named.task
        if run is not None and run.status == FINISHED:
            return "done", ""
        if run is not None and run.status == RUNNING:
            return ("killed", DIED) if _is_lost(run, task) else ("going", "")
        if task is not None and task.state in ("waiting", "stopped"):
            return "waiting", ""
        if task is not None and task.state == "going":
            began = task.there.began if task.there else task.record.submitted
            if run is None or _ended_before(run, began):
                return "going", ""
        if named.asked and task is None:
            going = [asked.began for asked in named.asked if asked.goes_on]
            if any(run is None or _ended_before(run, began) for began in going):
                return "waiting", ""
            if run is None:
                return "not begun", ""
        if run is not None and run.pruned:
            return "pruned", ""
        if run is not None:
            killed = run.status == "KILLED"
            return ("killed", "") if killed else ("failed", run.error or "it left no reason")
        return _of_task(task)

    def _node(self, run: LoggedRun | None, task: TaskOf | None) -> str:
        host = host_of(run.process) if run is not None else None
        if host is not None:
            return self._hosts.get(host, f"host {host}")
        return task.there.host if task is not None and task.there is not None else NOWHERE

    def _left_of(self, run: LoggedRun, task: TaskOf | None) -> TimeLeft:
        """Return what is known of the time that a run will take."""
        there = task.there if task is not None else None
        began = there.began if there is not None else self._since
        return time_left(run, began, self._typical, self._now)


def _of_task(task: TaskOf | None) -> tuple[RunStatus, str]:
    """Return how a run stands of which MLflow has nothing, by its task that has ended."""
    if task is None:
        return "not begun", ""
    why = task.record.error or (task.there.error if task.there else None) or ""
    if task.state == "done":  # with tracking=none
        return "done", ""
    if task.state in ("failed", "given up"):
        return "failed", why
    return ("killed", why) if task.there is not None else ("not begun", why)


def _is_lost(run: LoggedRun, task: TaskOf | None) -> bool:
    """Say whether a run is RUNNING that nobody carries out, as far as that is written down."""
    if is_gone(run.process):
        return True
    if task is None or task.there is None or task.there.process != run.process:
        return False
    return task.state in ENDED


def _ended_before(run: LoggedRun, moment: float) -> bool:
    return run.ended is not None and run.ended < moment


def _since(logged: StudyRuns, tasks: Sequence[TaskOf], asked: Sequence[Asked]) -> float | None:
    """Return when what is at a study now has begun; None if that is not known."""
    if going := [one.began for one in asked if one.goes_on]:
        return min(going)
    if (multirun := logged.multirun) is not None and not is_gone(multirun[1]):
        return multirun[0]
    begun = [task.there.began for task in tasks if task.there is not None]
    return min(begun, default=None)


def _left(runs: Sequence[RunInStudy], since: float | None, now: float) -> float | None:
    """Return the seconds until a study has ended: at the pace so far, and no sooner than its runs.

    Args:
        runs: of the study.
        since: when what is at them now has begun; None if that is not known.
        now: in seconds since 1970.
    """
    going = [run for run in runs if run.status == "going"]
    waiting = sum(run.status == "waiting" for run in runs)
    own = _longest([run.left for run in going])
    if not waiting and all(run.left is not None for run in going):
        return own
    if since is None:
        return None
    ended = [run.logged.ended for run in runs if run.status in _OVER and run.logged]
    # What goes on from an earlier attempt has no seconds of its own, and tells nothing of the pace.
    paced = sum(run.share for run in going if run.time.paced)
    moved = paced + sum(one >= since for one in ended if one)
    if not moved:
        return None
    remaining = waiting + sum(1 - run.share for run in going)
    return max((now - since) * remaining / moved, own or 0.0)


def _longest(seconds: Sequence[float | None]) -> float | None:
    return max((one for one in seconds if one is not None), default=None)


def _names(tasks: Sequence[TaskOf]) -> list[str]:
    return [name for task in tasks for name in task.record.runs]


def _hash(name: str) -> str:
    """Return the hash of a configuration, which ends the name of its run's folder."""
    return name.rpartition("-")[2]


def reasons(runs: Sequence[RunInStudy]) -> Mapping[str, list[str]]:
    """Return why runs have failed or were killed, and the names of those that did for it."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if run.why and run.status in ("failed", "killed"):
            found.setdefault(run.why, []).append(run.name)
    return found
