"""Carrying out the packs of a study by an engine whose tasks are not this machine's."""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapterlab.base.errors import (
    MemoryLackError,
    RunLostError,
    first_line,
    out_of_memory,
    went_wrong,
)
from adapterlab.base.interrupts import HUNG_UP
from adapterlab.base.place import Place
from adapterlab.base.process_identity import this_process
from adapterlab.base.redaction import redacted
from adapterlab.config.schema import Config
from adapterlab.runs.homes import latest_home
from adapterlab.studies.engine import POLL_SECONDS, Engine, Lasting, Task
from adapterlab.studies.kept import kept
from adapterlab.studies.recalled import end_if_told, forget_told
from adapterlab.studies.records import Record, run_names, write
from adapterlab.studies.taken_up import TakenUp
from adapterlab.tracking.mlflow_run import mark_lost, mark_split
from adapterlab.training.hardware import resolve_accelerator, resolve_precision

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
"""In a row that fail as a whole, and come no epoch further; then a task is given up."""

_CANCEL_SECONDS = 45.0
"""That tasks which are ended have to mark their runs; a cluster kills them after 30 by default."""


def for_place(config: Config, place: Place) -> Config:
    """Return the configuration of a run that was planned for another place.

    It says what was planned, so that no node decides otherwise: device and precision, which the
    run's hash hangs on. Threads are the task's cores, unless they are said. Paths are absolute.
    """
    hardware = config.hardware
    accelerator = resolve_accelerator(hardware.accelerator)
    hardware = replace(
        hardware,
        accelerator="gpu" if accelerator == "gpu" else "cpu",
        precision=resolve_precision(hardware.precision, accelerator),
        threads=hardware.threads or (place.cores if accelerator == "cpu" else None),
    )
    data_dir = config.data_dir
    if data_dir is not None and not Path(data_dir).expanduser().is_absolute():
        data_dir = str(Path(data_dir).expanduser().absolute())
    root = str(Path(config.root).expanduser().absolute())
    return replace(config, hardware=hardware, root=root, data_dir=data_dir)


def carry_out_elsewhere(
    tasks: Sequence[Task],
    engine: Engine,
    name: str,
    folder: Path,
    going: Sequence[TakenUp] = (),
    *,
    begin: Callable[[int], None],
    move: Callable[[float], None],
    end: Callable[[int, list[Any]], None],
) -> None:
    """Carry out tasks by an engine, and see them through.

    A task that is stopped or lost is submitted again, and goes on from its last epoch; after three
    times without another epoch it is given up. A pack that has run out of memory is split in two.
    What becomes of each is written down as it happens. All calls come from this thread.

    Args:
        tasks: in the order in which they are begun.
        engine: that carries them out.
        name: of the engine.
        folder: of the records of the study's tasks.
        going: tasks that are on their way; their numbers come after those of `tasks`.
        begin: called with a task's number when it has begun.
        move: called with how many runs' worth of training has been done since.
        end: called with a task's number and what came of each of its runs.
    """
    every = [*tasks, *(one.task for one in going)]
    study = _Study(every, engine, name, folder, begin=begin, move=move, end=end)
    forget_told(folder)
    try:
        for number, one in enumerate(going, start=len(tasks)):
            study.take_up(number, one)
        study.submit_all(len(tasks))
        while study.open:
            wait([part.future for part in study.open], POLL_SECONDS, FIRST_COMPLETED)
            study.look()
            end_if_told(folder)
    except BaseException as error:
        # Who closes a terminal, or loses a connection, wants the tasks to go on.
        closed = isinstance(error, SystemExit) and error.code == HUNG_UP
        if not (closed and isinstance(engine, Lasting)):
            study.cancel()
        raise


def submit_elsewhere(
    tasks: Sequence[Task], engine: Engine, name: str, folder: Path
) -> list[Record]:
    """Submit tasks that nobody waits for; return what was written down of them.

    Args:
        tasks: in the order in which they are begun.
        engine: that carries them out, and whose tasks outlive it.
        name: of the engine.
        folder: of the records of the study's tasks.
    """

    def nobody(*_: object) -> None:
        """Hear of what nobody waits for."""

    study = _Study(tasks, engine, name, folder, begin=nobody, move=nobody, end=nobody)
    try:
        study.submit_all(len(tasks))
    except BaseException:
        study.cancel()
        raise
    return [part.record for part in study.open]


@dataclass
class _Part:
    """A task that is on its way: one of those asked for, or half of a pack that was too large.

    Attributes:
        number: of the task that was asked for.
        places: of its runs in that.
        failures: how often in a row it has failed as a whole, and come no epoch further.
        kept: what its runs had to go on from when it was submitted last.
        split_from: lanes of the pack that it is a part of, which was too large.
    """

    number: int
    places: tuple[int, ...]
    task: Task
    record: Record
    future: "Future[list[Any]]" = field(default_factory=Future)
    failures: int = 0
    kept: frozenset[tuple[str, int]] = frozenset()
    split_from: int = 0


class _Study:
    """All tasks of a study, and what has come of them.

    Attributes:
        open: the parts that have not ended.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        engine: Engine,
        name: str,
        folder: Path,
        *,
        begin: Callable[[int], None],
        move: Callable[[float], None],
        end: Callable[[int, list[Any]], None],
    ) -> None:
        self._tasks, self._engine, self._name, self._folder = tasks, engine, name, folder
        self._begin, self._move, self._end = begin, move, end
        self._begun: set[int] = set()
        self._outcomes: list[dict[int, Any]] = [{} for _ in tasks]
        self._stamp = uuid.uuid4().hex[:8]
        self._count = 0
        self.open: list[_Part] = []

    def take_up(self, number: int, one: TakenUp) -> None:
        """Take up a task that is on its way."""
        places, task = tuple(range(len(one.task.configs))), one.task
        self.open.append(
            _Part(number, places, task, one.record, one.future, kept=kept(task.configs))
        )

    def submit_all(self, count: int) -> None:
        """Submit the first tasks of those asked for."""
        for number, task in enumerate(self._tasks[:count]):
            self._add(number, tuple(range(len(task.configs))), task)
        self._send()

    def look(self) -> None:
        """Tell what has begun, moved and ended since the last look, and go on by it."""
        for part in list(self.open):
            ended = part.future.done()
            if not ended and not part.future.running():
                continue
            if part.number not in self._begun:
                self._begun.add(part.number)
                self._begin(part.number)
            if runs := self._engine.moved(part.future):
                self._move(runs)
            where = self._engine.where(part.future)
            if not ended and (part.record.state, part.record.where) != ("going", where):
                self._note(part, state="going", where=where)
            if ended:
                self.open.remove(part)
                self._ended(part, where)
        self._send()

    def cancel(self) -> None:
        """End all tasks, and wait until they have marked their runs."""
        for part in self.open:
            self._engine.cancel(part.future)
        wait([part.future for part in self.open if not part.future.cancelled()], _CANCEL_SECONDS)
        for part in self.open:
            self._note(part, state="cancelled")
            for config in part.task.configs:  # where a task was gone, or took too long
                lost = RunLostError("its task was cancelled")
                mark_lost(config, latest_home(config).link.run_id(), lost)

    def _add(self, number: int, places: tuple[int, ...], task: Task, *, split: int = 0) -> None:
        self._count += 1
        task = replace(task, id=f"{self._stamp}-{self._count:04d}")
        record = Record(
            id=task.id,
            engine=self._name,
            job=None,
            runs=run_names(task.configs),
            packed=task.packed,
            state="waiting",
            submitted=time.time(),
            cluster=getattr(self._engine, "cluster", None),
            command=this_process(),
        )
        self._submit(_Part(number, places, task, record, split_from=split))

    def _submit(self, part: _Part) -> None:
        part.kept = kept(part.task.configs)
        write(self._folder, part.record)  # before there can be a task that nobody knows of
        part.future = self._engine.submit(part.task)
        self.open.append(part)

    def _send(self) -> None:
        """Send what has been submitted, and write down what the cluster calls it."""
        self._engine.send()
        for part in self.open:
            name = self._engine.name(part.future)
            if name is not None and name != part.record.job:
                self._note(part, job=name)

    def _note(self, part: _Part, **changes: Any) -> None:
        if (error := changes.get("error")) is not None:
            changes["error"] = redacted(error)
        part.record = replace(part.record, **changes)
        write(self._folder, part.record)

    def _ended(self, part: _Part, where: str | None) -> None:
        """Take what came of a part, or have it tried again."""
        try:
            outcomes = part.future.result()
        except CancelledError:
            outcomes = [RunLostError("its task was cancelled")] * len(part.places)
        except Exception as error:
            if not isinstance(error, MemoryLackError) or len(part.places) == 1:
                self._failed(part, where, error)
                return
            outcomes = [error] * len(part.places)  # the node ended it, with all its runs
        if self._lacks_memory(outcomes) and len(part.places) > 1:
            self._split(part, where, outcomes)
            return
        failed = next((one for one in outcomes if went_wrong(one)), None)
        state = "done" if failed is None else "failed"
        self._note(part, state=state, where=where, error=failed and first_line(failed))
        self._take(part, outcomes)

    def _failed(self, part: _Part, where: str | None, error: Exception) -> None:
        """Submit a task again that has failed as a whole, or give it up."""
        now = kept(part.task.configs)
        part.failures = 1 if now != part.kept else part.failures + 1
        line, again = first_line(error), part.failures < MOST_ATTEMPTS
        told = f"its task has failed {part.failures} times, the last time: {line}"
        came_of = error if again else RunLostError(told)
        for config in part.task.configs:  # one that was killed has not said how its runs ended
            mark_lost(config, latest_home(config).link.run_id(), came_of, given_up=not again)
        if not again:
            self._note(part, state="given up", where=where, error=line)
            self._take(part, [came_of] * len(part.places))
            return
        log.warning("a task of %s: %s; it goes on in another", _runs(part), line)
        part.record = replace(
            part.record, state="waiting", job=None, where=None, error=line,
            submitted=time.time(), attempts=part.record.attempts + 1,
        )  # fmt: skip
        part.task = replace(part.task, resume=True)
        self._submit(part)

    def _lacks_memory(self, outcomes: Sequence[Any]) -> bool:
        return any(map(_is_lack, outcomes))

    def _split(self, part: _Part, where: str | None, outcomes: Sequence[Any]) -> None:
        """Submit a pack again as two, without what has finished in it."""
        left = []
        for place, config, outcome in zip(part.places, part.task.configs, outcomes, strict=True):
            if _is_lack(outcome):
                left.append((place, config))
            else:
                self._outcomes[part.number][place] = outcome
        half = -(-len(left) // 2)
        there = f" ({where})" if where else ""
        log.warning(
            "a pack of %d ran out of memory%s; it goes again in two",
            len(part.places), there,
        )  # fmt: skip
        self._note(part, state="split", where=where, error="out of memory")
        for some in (left[:half], left[half:]):
            if some:
                configs = tuple(config for _, config in some)
                fewer = part.task.lanes and max(part.task.lanes // 2, 1)
                task = replace(part.task, configs=configs, resume=True, lanes=fewer)
                lanes = part.split_from or len(part.places)
                self._add(part.number, tuple(place for place, _ in some), task, split=lanes)

    def _take(self, part: _Part, outcomes: Sequence[Any]) -> None:
        """Keep what came of a part; tell of the task that was asked for when all is there."""
        kept = self._outcomes[part.number]
        kept |= dict(zip(part.places, outcomes, strict=True))
        if part.split_from:
            for config in part.task.configs:
                mark_split(config, latest_home(config).link.run_id(), part.split_from)
        if len(kept) == len(self._tasks[part.number].configs):
            self._end(part.number, [kept[place] for place in sorted(kept)])


def _is_lack(outcome: Any) -> bool:
    if isinstance(outcome, MemoryLackError):
        return True
    return isinstance(outcome, BaseException) and out_of_memory(outcome) is not None


def _runs(part: _Part) -> str:
    count = len(part.places)
    return f"{count} runs" if count > 1 else "one run"
