"""Tasks that an earlier command has submitted, and that are still on their way."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.locks import try_lock
from adapterlab.config.schema import Config
from adapterlab.studies.tasks.engine import Lasting, Task
from adapterlab.studies.tasks.records import (
    ENDED,
    Record,
    read_there,
    records,
    run_names,
    state_of,
    write,
)

_NAMED = 5


@dataclass(frozen=True)
class TakenUp:
    """A task on its way.

    Attributes:
        record: what is written down of it.
        task: as it would be submitted again.
        places: of its runs, among those of the command.
        future: of what comes of it.
    """

    record: Record
    task: Task
    places: tuple[int, ...]
    future: "Future[list[Any]]"


@contextmanager
def alone_with_tasks(folder: Path, study: str) -> Iterator[None]:
    """Let no two commands submit or collect the tasks of a study at the same time.

    Raises:
        AdapterLabError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        try_lock(lock)
    except Timeout:
        raise AdapterLabError(
            f"study={study}: another command waits for its tasks; a study has one at a time"
        ) from None
    try:
        yield
    finally:
        lock.release()


def taken_up(
    folder: Path, name: str, engine: object, configs: Sequence[Config], *, study: str, resume: bool
) -> list[TakenUp]:
    """Take up the tasks of a study that are still on their way, as far as it asks for their runs.

    What has ended without a word, with a command that was killed say, is written down as such.

    Args:
        folder: of the records.
        name: of the engine.
        engine: that knows the tasks; one whose tasks end with their command has none.
        configs: of the command's runs, for where they are carried out.
        study: its name.
        resume: as the command says.

    Raises:
        AdapterLabError: there are some, and the command would start anew; or one is also at runs
            that the command does not ask for.
    """
    places = dict(zip(run_names(configs), range(len(configs)), strict=True))
    found: list[TakenUp] = []
    for record in records(folder):
        if record.state in ENDED:
            continue
        if not places.keys() & set(record.runs):
            now = state_of(record, there := read_there(folder, record.id))
            if now in ENDED and there is not None:  # while no command was there to say so
                write(folder, replace(record, state=now, error=there.error))
            continue
        one = _on_its_way(record, name, engine, places, configs, study)
        if one is None:
            write(folder, replace(record, state="failed", error="it has ended without a word"))
        else:
            found.append(one)
    if found and not resume:
        jobs = [str(one.record.job) for one in found[:_NAMED]]
        more = ", ..." if len(found) > _NAMED else ""
        raise AdapterLabError(
            f"study={study}: {len(found)} tasks of it are on their way ({', '.join(jobs)}{more}); "
            f"resume=true takes them up, `python scripts/cancel.py study={study}` ends them"
        )
    return found


def _on_its_way(
    record: Record,
    name: str,
    engine: object,
    places: Mapping[str, int],
    configs: Sequence[Config],
    study: str,
) -> TakenUp | None:
    if not isinstance(engine, Lasting) or record.engine != name or record.job is None:
        return None
    own = tuple(place for run in record.runs if (place := places.get(run)) is not None)
    task = Task(tuple(configs[place] for place in own), record.packed, id=record.id, resume=True)
    future = engine.adopt(task, record)
    if future is not None and len(own) < len(record.runs):
        others = next(run for run in record.runs if run not in places)
        raise AdapterLabError(
            f"study={study}: its task {record.job} is also at {others}, which this command does "
            f"not ask for; give the command that it came from, or end it: "
            f"`python scripts/cancel.py study={study}`"
        )
    return None if future is None else TakenUp(record, task, own, future)
