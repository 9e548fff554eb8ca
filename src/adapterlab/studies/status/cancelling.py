"""Ending a study that is under way: its commands, its tasks, and what MLflow says of its runs."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from adapterlab.base.errors import AdapterLabError, first_line
from adapterlab.base.locks import try_lock
from adapterlab.base.process_identity import host_of, is_gone, number_here
from adapterlab.config.validation import STRICT, checked
from adapterlab.runs.folders.abandoned import bury
from adapterlab.studies.engines import KINDS, Recalls, module_of
from adapterlab.studies.status import lookup
from adapterlab.studies.status.study_status import StudyStatus, TaskOf
from adapterlab.studies.tasks.cancel_file import forget_told, tell_to_end
from adapterlab.studies.tasks.records import ENDED, Record, tasks_of, write
from adapterlab.tracking.servers import journal
from adapterlab.tracking.study_runs import RUNNING, LoggedRun

PATIENCE = 60.0
"""Seconds that a command and its tasks have to end; a cluster kills them after 30 by default."""

_POLL_SECONDS, _ASK_SECONDS = 0.25, 1.0


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Request(lookup.Request):
    """Which study to end; see conf/cancel.yaml."""

    force: bool = False


@dataclass
class Cancelled:
    """What has come of it.

    Attributes:
        told: what was told to end, in words.
        unreached: what could not be ended from here, and why.
        killed: how many runs were under way and are KILLED now.
        before, after: how the study stood and stands.
    """

    before: StudyStatus
    after: StudyStatus
    told: list[str] = field(default_factory=list)
    unreached: dict[str, str] = field(default_factory=dict)
    killed: int = 0


def parse_request(values: Any) -> Request:
    """Check the options.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def cancel(request: Request) -> Cancelled:
    """End what is under way of a study. To do so twice changes nothing.

    Commands are told first, for they submit again what ends under them; they end their tasks and
    mark their runs. What is left is ended by the engine that has it. Runs are marked as KILLED when
    what carried them out has ended for certain, or whatever it does with ``force``.

    Args:
        request: which study.

    Raises:
        AdapterLabError: there is no such study, or the store does not answer.
    """
    client = lookup.client_of(request)
    before = lookup.find_study(client, request)
    done = Cancelled(before, before)
    folder = tasks_of(request.mlruns, request.study)
    with _alone(folder, before, done):
        _end_commands(lookup.find_study(client, request), done)
        now = lookup.find_study(client, request)
        if open_tasks := [task for task in now.tasks if task.state not in ENDED]:
            _end_tasks(open_tasks, folder, done)
        now = lookup.find_study(client, request)
        left = _end_processes(now, done)
        if left and client is not None:
            _mark(client, request, left, done)
    done.after = lookup.find_study(client, request)
    done.killed = sum(_is_open(run) for run in before.logged.attempts) - sum(
        _is_open(run) for run in done.after.logged.attempts
    )
    return done


@contextmanager
def _alone(folder: Path, study: StudyStatus, done: Cancelled) -> Iterator[None]:
    """Have the command that waits for the study's tasks end, and let no other begin meanwhile."""
    if not folder.is_dir():
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        try_lock(lock)
    except Timeout:
        tell_to_end(folder)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            forget_told(folder)
            done.unreached["the command that waits for the tasks"] = (
                f"it has not ended in {PATIENCE:.0f} s, and would submit them again"
            )
            yield
            return
        done.told.append("the command that waits for the tasks, with its tasks")
    try:
        forget_told(folder)
        yield
    finally:
        lock.release()


def _end_commands(study: StudyStatus, done: Cancelled) -> None:
    """End the processes of the study's commands, which end their own and mark their runs."""
    found = [asked.process for asked in study.asked if asked.goes_on and study.is_open]
    found += [process for _, process in study.logged.multiruns]
    commands = [process for process in dict.fromkeys(found) if not is_gone(process)]
    _end_all(commands, "the command", done)


def _end_all(processes: Iterable[str], what: str, done: Cancelled) -> None:
    told = []
    for process in processes:
        number = number_here(process)
        if number is None:
            if not is_gone(process):
                done.unreached[f"{what} on host {host_of(process)}"] = (
                    "it is of another machine or container: cancel there"
                )
            continue
        try:
            os.kill(number, signal.SIGTERM)
        except ProcessLookupError:
            continue
        except PermissionError:
            done.unreached[f"{what}, process {number}"] = "it is of another user"
            continue
        told.append(process)
        done.told.append(f"{what}, process {number}")
    _wait(lambda: all(map(is_gone, told)))
    for process in told:
        if not is_gone(process):
            done.unreached[f"{what}, process {number_here(process)}"] = (
                f"it was told to, and has not ended in {PATIENCE:.0f} s"
            )


def _end_tasks(tasks: Iterable[TaskOf], folder: Path, done: Cancelled) -> None:
    """End tasks by their engines, and write down that they are cancelled."""
    reached: dict[str, list[Record]] = {}
    for task in tasks:
        record = task.record
        engine = _recalling(record.engine)
        try:
            if engine is None:
                _end_without_engine(task, done)
                write(folder, replace(record, state="cancelled"))
            else:
                engine.require_reach(record)
                reached.setdefault(record.engine, []).append(record)
        except AdapterLabError as error:
            done.unreached[_named(record)] = first_line(error)
    for name, own in reached.items():
        engine = _recalling(name)
        assert engine is not None
        try:
            left = _end_recorded(engine, own, done)
        except AdapterLabError as error:
            done.unreached[f"{len(own)} tasks of {name}"] = first_line(error)
            continue
        for record in own:
            if record.id in left:
                done.unreached[_named(record)] = f"it has not ended in {PATIENCE:.0f} s"
            else:
                write(folder, replace(record, state="cancelled"))


def _end_recorded(engine: Recalls, own: Sequence[Record], done: Cancelled) -> set[str]:
    """End tasks of one engine; return those that have not ended in time."""
    left = engine.open_recorded(own)
    for record in own:
        if record.id in left:
            engine.end_recorded(record)
            done.told.append(f"job {record.job}: {_what(record)}")
    deadline = time.monotonic() + PATIENCE
    while left and time.monotonic() < deadline:
        time.sleep(_ASK_SECONDS)
        left = engine.open_recorded(own)
    return left


def _recalling(name: str) -> Recalls | None:
    """Return the file of an engine that ends tasks by their records; None of another."""
    module = module_of(name) if name in KINDS else None
    return module if isinstance(module, Recalls) else None


def _end_without_engine(task: TaskOf, done: Cancelled) -> None:
    """End the process of a task whose engine went with its command.

    Raises:
        AdapterLabError: it is not of this machine.
    """
    process = task.there.process if task.there is not None else None
    if process is None or is_gone(process):
        return
    if number_here(process) is None:
        raise AdapterLabError(f"it is on {task.there.host if task.there else 'another machine'}")
    _end_all([process], "a task", done)


def _end_processes(study: StudyStatus, done: Cancelled) -> list[LoggedRun]:
    """End the processes of runs that have outlived their command; return all RUNNING runs."""
    left = [run for run in study.logged.attempts if _is_open(run)]
    alive = dict.fromkeys(run.process for run in left if number_here(run.process) is not None)
    _end_all([process for process in alive if process is not None], "a run", done)
    return left


def _mark(client: Any, request: Request, left: Iterable[LoggedRun], done: Cancelled) -> None:
    """Mark runs as KILLED that nobody carries out any more, then the study's own run."""
    now = lookup.find_study(client, request)
    over = {
        task.there.process
        for task in now.tasks
        if task.there is not None and task.state in (*ENDED, "stopped")
    }
    kept = 0
    waiting = {path.name for path in journal.folders(request.mlruns, [request.study])}
    for run in left:
        if any(name.endswith(run.identity[0]) for name in waiting):
            continue  # it says itself how it ended, when it is delivered
        if request.force or is_gone(run.process) or run.process in over:
            bury(client, run.run_id)
        elif client.get_run(run.run_id).info.status == RUNNING:
            kept += 1
            host = host_of(run.process)
            done.unreached.setdefault(
                f"run {run.name}",
                "its process cannot be reached from here"
                + (f" (host {host})" if host else "")
                + "; force=true marks it as KILLED all the same",
            )
    if kept == 0:
        for own in now.logged.own:
            if own.info.status == RUNNING:
                client.set_terminated(own.info.run_id, "KILLED")


def _is_open(run: LoggedRun) -> bool:
    return run.status == RUNNING


def _named(record: Record) -> str:
    what = record.runs[0] if len(record.runs) == 1 else _what(record)
    return f"a task of {record.engine} ({what})"


def _what(record: Record) -> str:
    """Return what is in a task: its runs, or what several tasks need."""
    runs = len(record.runs)
    if not runs:
        return "what several tasks need"
    return f"{runs} run{'' if runs == 1 else 's'}"


def _wait(is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_over() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
