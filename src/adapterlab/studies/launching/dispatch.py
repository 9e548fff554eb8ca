"""Carrying out the packs of a study by an engine whose tasks are not this machine's."""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapterlab.base.errors import (
    MemoryLackError,
    RunLostError,
    first_line,
    went_wrong,
)
from adapterlab.base.interrupts import HUNG_UP
from adapterlab.base.process_identity import this_process
from adapterlab.base.redaction import redacted
from adapterlab.runs.folders.homes import latest_home
from adapterlab.studies.tasks.adopted import TakenUp
from adapterlab.studies.tasks.cancel_file import end_if_told, forget_told
from adapterlab.studies.tasks.engine import POLL_SECONDS, Engine, Lasting, Task
from adapterlab.studies.tasks.parts import Part, is_lack
from adapterlab.studies.tasks.records import Record, run_names, write
from adapterlab.studies.tasks.resumable_files import resumable_files
from adapterlab.studies.tasks.shared_inputs import Need
from adapterlab.tracking.mlflow_run import mark_lost, mark_split
from adapterlab.tracking.servers.errors import StoreAwayError

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
"""In a row that fail as a whole, and come no epoch further; then a task is given up."""

NOBODYS = -1
"""The number of a task that was not asked for: it makes what others need."""

_CANCEL_SECONDS = 45.0
"""That tasks which are ended have to mark their runs; a cluster kills them after 30 by default."""


def carry_out_elsewhere(
    tasks: Sequence[Task],
    engine: Engine,
    name: str,
    folder: Path,
    going: Sequence[TakenUp] = (),
    needs: Sequence[Need] = (),
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
        needs: what some of `tasks` come after; see `shared_inputs`.
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
        study.submit_all(len(tasks), needs)
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
    tasks: Sequence[Task], engine: Engine, name: str, folder: Path, needs: Sequence[Need] = ()
) -> list[Record]:
    """Submit tasks that nobody waits for; return what was written down of them.

    Args:
        tasks: in the order in which they are begun.
        engine: that carries them out, and whose tasks outlive it.
        name: of the engine.
        folder: of the records of the study's tasks.
        needs: what some of them come after, for the cluster to see to; see `shared_inputs`.
    """

    def nobody(*_: object) -> None:
        """Hear of what nobody waits for."""

    study = _Study(tasks, engine, name, folder, begin=nobody, move=nobody, end=nobody)
    try:
        study.submit_at_once(len(tasks), needs)
    except BaseException:
        study.cancel()
        raise
    return [part.record for part in study.open]


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
        self._held: dict[str, list[Part]] = {}  # by the task that makes what they need
        self.open: list[Part] = []

    def take_up(self, number: int, one: TakenUp) -> None:
        """Take up a task that is on its way."""
        places, task = tuple(range(len(one.task.configs))), one.task
        self.open.append(
            Part(number, places, task, one.record, one.future, kept=resumable_files(task))
        )

    def submit_all(self, count: int, needs: Sequence[Need]) -> None:
        """Submit the first tasks of those asked for; what needs something, when that is made."""
        for need in needs:
            made = self._make(need)
            self._held[made] = [self._part(number) for number in need.of]
        held = {number for need in needs for number in need.of}
        for number in range(count):
            if number not in held:
                self._submit(self._part(number))
        self._send()

    def submit_at_once(self, count: int, needs: Sequence[Need]) -> None:
        """Submit tasks of which each says what it comes after: nobody will be there to wait."""
        after: dict[int, tuple[str, ...]] = {}
        for need in needs:
            after |= dict.fromkeys(need.of, (self._make(need),))
        for number in range(count):
            self._submit(self._part(number, after.get(number, ())))
        self._send()

    def look(self) -> None:
        """Tell what has begun, moved and ended since the last look, and go on by it."""
        for part in list(self.open):
            ended = part.future.done()
            if not ended and not part.future.running():
                continue
            if part.number not in self._begun and not part.task.prepares:
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
        for part in (one for held in self._held.values() for one in held):
            self._note(part, state="cancelled")
        for part in self.open:
            self._note(part, state="cancelled")
            for config in part.task.carried_out:  # where a task was gone, or took too long
                lost = RunLostError("its task was cancelled")
                mark_lost(config, latest_home(config).link.run_id(), lost)

    def _make(self, need: Need) -> str:
        """Submit what makes something that tasks need; return its id."""
        part = self._new(NOBODYS, tuple(range(len(need.task.configs))), need.task)
        self._submit(part)
        return part.task.id

    def _part(self, number: int, after: tuple[str, ...] = ()) -> Part:
        """Return a task that was asked for, which has not been submitted yet."""
        task = replace(self._tasks[number], after=after)
        return self._new(number, tuple(range(len(task.configs))), task)

    def _new(self, number: int, places: tuple[int, ...], task: Task, *, split: int = 0) -> Part:
        self._count += 1
        task = replace(task, id=f"{self._stamp}-{self._count:04d}")
        record = Record(
            id=task.id,
            engine=self._name,
            job=None,
            runs=run_names(task.carried_out),
            packed=task.packed,
            state="waiting",
            submitted=time.time(),
            cluster=getattr(self._engine, "cluster", None),
            command=this_process(),
        )
        write(self._folder, record)  # before there can be a task that nobody knows of
        return Part(number, places, task, record, split_from=split)

    def _submit(self, part: Part) -> None:
        part.kept = resumable_files(part.task)
        self._note(part, submitted=time.time())
        part.future = self._engine.submit(part.task)
        self.open.append(part)

    def _send(self) -> None:
        """Send what has been submitted, and write down what the cluster calls it."""
        self._engine.send()
        for part in self.open:
            name = self._engine.name(part.future)
            if name is not None and name != part.record.job:
                self._note(part, job=name)

    def _note(self, part: Part, **changes: Any) -> None:
        if (error := changes.get("error")) is not None:
            changes["error"] = redacted(error)
        part.record = replace(part.record, **changes)
        write(self._folder, part.record)

    def _ended(self, part: Part, where: str | None) -> None:
        """Take what came of a part, or have it tried again."""
        try:
            outcomes = part.future.result()
        except CancelledError:
            outcomes = [RunLostError("its task was cancelled")] * len(part.places)
        except Exception as error:
            if not isinstance(error, MemoryLackError) or not part.can_be_split:
                self._failed(part, where, error)
                return
            outcomes = [error] * len(part.places)  # the node ended it, with all its runs
        if part.can_be_split and any(map(is_lack, outcomes)):
            self._split(part, where, outcomes)
            return
        failed = next((one for one in outcomes if went_wrong(one)), None)
        state = "done" if failed is None else "failed"
        self._note(part, state=state, where=where, error=failed and first_line(failed))
        self._take(part, outcomes)

    def _failed(self, part: Part, where: str | None, error: Exception) -> None:
        """Submit a task again that has failed as a whole, or give it up."""
        now = resumable_files(part.task)
        part.failures = 1 if now != part.kept else part.failures + 1
        line, again = first_line(error), part.failures < MOST_ATTEMPTS
        told = f"its task has failed {part.failures} times, the last time: {line}"
        came_of = error if again else RunLostError(told)
        for config in part.task.carried_out:  # one that was killed has not said how runs ended
            mark_lost(config, latest_home(config).link.run_id(), came_of, given_up=not again)
        if not again:
            self._note(part, state="given up", where=where, error=line)
            self._take(part, [came_of] * len(part.places))
            return
        log.warning("a task of %s: %s; it goes on in another", part.words, line)
        part.record = replace(
            part.record, state="waiting", job=None, where=None, error=line,
            attempts=part.record.attempts + 1,
        )  # fmt: skip
        part.task = replace(part.task, resume=True)
        self._submit(part)

    def _split(self, part: Part, where: str | None, outcomes: Sequence[Any]) -> None:
        """Submit a pack again as two, without what has finished in it."""
        left = []
        for place, config, outcome in zip(part.places, part.task.configs, outcomes, strict=True):
            if is_lack(outcome):
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
                places = tuple(place for place, _ in some)
                self._submit(self._new(part.number, places, task, split=lanes))

    def _take(self, part: Part, outcomes: Sequence[Any]) -> None:
        """Keep what came of a part; tell of the task that was asked for when all is there."""
        if part.task.prepares:
            self._release(part, outcomes)
            return
        kept = self._outcomes[part.number]
        kept |= dict(zip(part.places, outcomes, strict=True))
        if part.split_from:
            for config in part.task.configs:
                mark_split(config, latest_home(config).link.run_id(), part.split_from)
        if len(kept) == len(self._tasks[part.number].configs):
            self._end(part.number, [kept[place] for place in sorted(kept)])

    def _release(self, part: Part, outcomes: Sequence[Any]) -> None:
        """Submit the tasks that come after one that made what they need, or tried to.

        What could not be made because of what it is, they would fail by as well; where the task was
        lost or lacked something that others may have, each sees to it itself.
        """
        parts = self._held.pop(part.task.id, [])
        failed = next((one for one in outcomes if went_wrong(one)), None)
        passes = isinstance(failed, RunLostError | StoreAwayError) or is_lack(failed)
        if failed is not None and passes:
            line = first_line(failed)
            log.warning("what %d tasks need was not made beforehand: %s", len(parts), line)
        for one in parts:
            if failed is None or passes:
                self._submit(one)
                continue
            self._note(one, state="failed", error=first_line(failed))
            self._begin(one.number)
            self._take(one, [failed] * len(one.places))
