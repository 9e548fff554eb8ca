"""What is written down of a study's tasks: which runs, by which engine, how far they are.

They lie in ``mlruns/studies/NAME/tasks``, a disk that command and nodes share: ``ID.json`` is
written by the command that submits a task, ``ID.there.json`` by the task where it is carried out.
Each has one writer, and is written whole or not at all.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from adapterlab.base.files import write_json
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunFolder

THERE = ".there.json"
"""Ends the name of what a task itself writes."""

State = Literal["waiting", "going", "done", "failed", "stopped", "cancelled", "given up", "split"]

ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "given up", "split")
"""What a task's own command says last; one that was stopped is submitted again."""


@dataclass(frozen=True)
class Record:
    """What a command says of a task that it has submitted.

    Attributes:
        id: of the task.
        engine: its name.
        job: what the cluster calls it; None before it has a name.
        runs: names of the folders of its runs, in ``mlruns/runs/STUDY``.
        packed: they are trained as one pack.
        state: of the task; what is ``going`` the task itself says as well.
        submitted: when, in seconds since 1970; the last time, if it was more than once.
        attempts: how often.
        where: it is or was carried out, in words; None before it has begun.
        error: why it failed or was stopped, in a line.
        cluster: kind of it, where the engine has several.
        command: that has submitted it, as `base.process_identity` names its process.
    """

    id: str
    engine: str
    job: str | None
    runs: tuple[str, ...]
    packed: bool
    state: State
    submitted: float
    attempts: int = 1
    where: str | None = None
    error: str | None = None
    cluster: str | None = None
    command: str | None = None


@dataclass(frozen=True)
class There:
    """What a task says of itself.

    Attributes:
        process: that carries it out, as `base.process_identity` names it.
        host: of that.
        state: going, done, failed or stopped.
        attempts: how often it has begun.
        began: this attempt, in seconds since 1970.
        at: when this was written.
        moved: runs' worth of training that this attempt has done.
        idle: attempts in a row, with this one when it has ended, that came no epoch further.
        error: why it ended, in a line.
    """

    process: str
    host: str
    state: State
    attempts: int
    began: float
    at: float
    moved: float = 0.0
    idle: int = 0
    error: str | None = None


_RECORD, _THERE = TypeAdapter(Record), TypeAdapter(There)


def task_folder(config: Config) -> Path:
    """Return where the tasks of a run's study are written down."""
    return tasks_of(config.mlruns, config.study or "single")


def tasks_of(mlruns: Path, study: str) -> Path:
    """Return where the tasks of a study are written down."""
    return mlruns / "studies" / study / "tasks"


def run_names(configs: Sequence[Config]) -> tuple[str, ...]:
    """Return the names by which a task's record knows its runs."""
    return tuple(RunFolder.of(config).path.name for config in configs)


def write(folder: Path, record: Record) -> None:
    """Write down what a command says of a task."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{record.id}.json", asdict(record))


def write_there(folder: Path, task: str, there: There) -> None:
    """Write down what a task says of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{task}{THERE}", asdict(replace(there, at=time.time())))


def read(folder: Path, task: str) -> Record | None:
    """Return what a command said of a task; None if nothing that can be read."""
    record: Record | None = read_as(folder / f"{task}.json", _RECORD)
    return record


def read_there(folder: Path, task: str) -> There | None:
    """Return what a task said of itself last; None if nothing that can be read."""
    there: There | None = read_as(folder / f"{task}{THERE}", _THERE)
    return there


def records(folder: Path) -> Iterator[Record]:
    """Yield the records of a study's tasks, in the order in which they were submitted."""
    found = [read_as(path, _RECORD) for path in folder.glob("*.json") if _is_record(path)]
    kept: list[Record] = [record for record in found if record is not None]
    yield from sorted(kept, key=lambda record: (record.submitted, record.id))


def state_of(record: Record, there: There | None) -> State:
    """Return the state of a task: what it says itself, unless its command has said how it ended."""
    if record.state in ENDED or there is None or there.at < record.submitted:
        return record.state
    return there.state


def _is_record(path: Path) -> bool:
    return not path.name.endswith(THERE)


def read_as(path: Path, schema: TypeAdapter[Any]) -> Any:
    """Return what a file of JSON says; None if it is not there, or not of a schema."""
    try:
        return schema.validate_python(json.loads(path.read_text()))
    except (OSError, ValueError, ValidationError):
        return None
