"""Carrying out the packs of a study, in this process and in helpers beside it."""

import gc
import logging
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from adapterlab.base.errors import AdapterLabError, RunLostError
from adapterlab.base.interrupts import SIGNALS, TERMINATED
from adapterlab.base.output import set_up_output
from adapterlab.base.redaction import redact_files
from adapterlab.base.signals import end_with_parent, hangups_held
from adapterlab.config.conf_folder import register_resolvers
from adapterlab.config.schema import Config
from adapterlab.runs.data import RunData, load_data
from adapterlab.runs.homes import latest_home
from adapterlab.tracking.mlflow_run import mark_lost

_POLL_SECONDS = 0.25

Report = Callable[[int, Any], None]
"""Takes a pack's number and what came of it: a share of progress, or a list of outcomes."""


@dataclass(frozen=True)
class Work:
    """A pack to be carried out.

    Attributes:
        configs: of its runs.
        packed: False for a run that is trained the ordinary way.
        core_is_free: see `adapterlab.runs.pack.run_pack`.
    """

    configs: tuple[Config, ...]
    packed: bool
    core_is_free: bool


def carry_out(
    works: Sequence[Work],
    data: Callable[[Config], RunData],
    *,
    helpers: int,
    begin: Report,
    move: Report,
    end: Report,
) -> None:
    """Carry out packs, each in whichever process is free.

    This process starts at once; a helper takes its first pack when it has loaded what it needs,
    so a short study does not wait for one.

    Args:
        works: the packs, in the order in which they are started.
        data: reads the data of a run.
        helpers: processes beside this one.
        begin: called with a pack's number when it starts.
        move: called with a pack's number and by how many runs it has moved on.
        end: called with a pack's number and the outcomes of its runs.
    """
    context = multiprocessing.get_context("spawn")
    if helpers:
        with hangups_held():
            resource_tracker.ensure_running()
    taken = context.Value("i", 0)
    inbox: Any = context.Queue()
    arguments = (list(works), taken, inbox, os.getpid())
    crew = [context.Process(target=_help, args=arguments) for _ in range(helpers)]
    for process in crew:
        process.start()
    handlers: dict[str, Report] = {"begin": begin, "move": move, "end": end}
    mine: set[int] = set()
    ended: set[int] = set()
    by: dict[int, int | None] = {}
    last = [0.0]

    def listen(timeout: float = 0.0) -> None:
        while crew:
            try:
                kind, number, value, pid = (
                    inbox.get(timeout=timeout) if timeout else inbox.get_nowait()
                )
            except queue.Empty:
                return
            by[number] = pid
            if kind == "end":
                ended.add(number)
            handlers[kind](number, value)
            timeout = 0.0

    def moved(number: int, runs: float) -> None:
        move(number, runs)
        if crew and time.monotonic() - last[0] > _POLL_SECONDS:
            last[0] = time.monotonic()
            listen()

    try:
        while (number := _take(taken, len(works))) is not None:
            mine.add(number)
            begin(number, None)
            work = works[number]
            outcomes = _outcomes(work, data, lambda runs, n=number: moved(n, runs))  # type: ignore[misc]
            ended.add(number)
            end(number, outcomes)
            listen()
        while len(ended) < len(works):
            listen(_POLL_SECONDS)
            _bury(crew, works, by, ended, mine, end, listen)
    except BaseException:
        _interrupt(crew)
        raise
    finally:
        for process in crew:
            process.kill()  # it is at nothing, or has not even begun


def _take(taken: Any, count: int) -> int | None:
    """Take the next pack, None if there is none left."""
    with taken.get_lock():
        number = int(taken.value)
        if number >= count:
            return None
        taken.value = number + 1
    return number


def _outcomes(
    work: Work, data: Callable[[Config], RunData], moved: Callable[[float], None]
) -> list[Any]:
    from adapterlab.runs.pack import outcome_of, run_pack  # loads Lightning

    read = data(work.configs[0])
    # What has been loaded stays: without this, collecting garbage walks through all of it, again
    # and again, while pictures are drawn.
    gc.collect()
    gc.freeze()
    if work.packed:
        return run_pack(work.configs, read, moved, core_is_free=work.core_is_free)
    outcomes = [outcome_of(config, read) for config in work.configs]
    moved(len(work.configs))
    return outcomes


def _bury(
    crew: Sequence[BaseProcess],
    works: Sequence[Work],
    by: dict[int, int | None],
    ended: set[int],
    mine: set[int],
    end: Report,
    listen: Callable[[float], None],
) -> None:
    """Give up the packs of helpers that died."""
    if any(process.is_alive() for process in crew):
        dead = {process.pid for process in crew if not process.is_alive()}
        lost = [n for n, pid in by.items() if pid in dead and n not in ended]
    else:
        lost = [n for n in range(len(works)) if n not in ended and n not in mine]
    if not lost:
        return
    listen(_POLL_SECONDS)  # what it had still sent
    for number in lost:
        if number in ended:
            continue
        code = next((p.exitcode for p in crew if p.pid == by.get(number)), None)
        error = RunLostError(f"the process that trained it ended with code {code}")
        for config in works[number].configs:
            mark_lost(config, latest_home(config).link.run_id(), error)
        ended.add(number)
        end(number, [error for _ in works[number].configs])


def _interrupt(crew: Sequence[BaseProcess]) -> None:
    """Let helpers mark their runs as interrupted, and end."""
    for process in crew:
        if process.is_alive():
            process.terminate()
    for process in crew:
        process.join(30)


def _help(works: Sequence[Work], taken: Any, inbox: Any, parent: int) -> None:
    """Take packs until none is left: the whole life of a helper."""
    # Ctrl-C reaches every process of a terminal; the parent hears it, and ends its helpers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for ending in SIGNALS[1:]:
        signal.signal(ending, _stop)
    end_with_parent(parent)
    register_resolvers()
    redact_files()
    set_up_output()
    logging.getLogger("adapterlab").setLevel(logging.WARNING)
    import adapterlab.runs.pack  # noqa: F401  # before a pack is taken: it takes seconds

    me, data = os.getpid(), ReadOnce()

    def moved(number: int, runs: float) -> None:
        pending[0] += runs
        if time.monotonic() - pending[1] > _POLL_SECONDS:
            inbox.put(("move", number, pending[0], me))
            pending[:] = [0.0, time.monotonic()]

    while (number := _take(taken, len(works))) is not None:
        inbox.put(("begin", number, None, me))
        pending = [0.0, time.monotonic()]
        try:
            outcomes = _outcomes(works[number], data, lambda runs, n=number: moved(n, runs))  # type: ignore[misc]
        except AdapterLabError as error:
            outcomes = [error for _ in works[number].configs]
        inbox.put(("end", number, [_sendable(outcome) for outcome in outcomes], me))


def _stop(*_: object) -> None:
    """End this process by an exception, once, so that its runs are marked on the way out."""
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(TERMINATED)


def data_key(config: Config) -> str:
    """Return what decides which files a run reads."""
    return repr((config.dataset, config.source, config.data_dir, config.root))


class ReadOnce:
    """The data of runs, read once for all that read the same."""

    def __init__(self) -> None:
        self._read: dict[str, RunData] = {}

    def __call__(self, config: Config) -> RunData:
        """Return the data of a run."""
        key = data_key(config)
        if key not in self._read:
            self._read[key] = load_data(config)
        return self._read[key]

    def if_read(self, config: Config) -> RunData | None:
        """Return the data of a run; None if they have not been read."""
        return self._read.get(data_key(config))


def _sendable(outcome: Any) -> Any:
    """Return an outcome that can be sent to another process; some exceptions cannot."""
    try:
        pickle.loads(pickle.dumps(outcome))
    except Exception:
        return RuntimeError(f"{type(outcome).__name__}: {outcome}")
    return outcome
