"""Kill processes while they make or upgrade the sqlite store, then use it.

Most are forks of this process that only open the store, because they begin at once and cost
little; some are whole trainings.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from adapterlab.tracking.client import connect
from faults.old_stores import old_store, revision_of, revisions, runs_of
from faults.trying import TINY, Setting, Trial, command, started, statuses

COUNT = 100

RUNS = 20
"""In a store that is upgraded."""


def tries(setting: Setting) -> Iterator[Trial]:
    """Make the kinds of trials in turn; of trainings there are fewest."""
    kinds = [_made, _upgraded, _two, _half_made, _made, _upgraded, _two, _half_made, _trained]
    alone = _seconds(setting.root("alone"))
    for number in range(setting.count):
        root = setting.root(str(number))
        moment = setting.rng.uniform(0, 1.1 * alone)
        yield kinds[number % len(kinds)](setting, root, moment)
        shutil.rmtree(root)


def _made(setting: Setting, root: Path, moment: float) -> Trial:
    at_work = killed([_opening(root)], moment)
    return _judged("while a store is made", root, at_work, moment)


def _two(setting: Setting, root: Path, moment: float) -> Trial:
    """One of two is killed; the other has to come to its end."""
    first, other = _opening(root), _opening(root)
    at_work = killed([first], moment)
    other.join(300)
    trial = _judged("while two processes make a store", root, at_work, moment)
    held = trial.held and other.exitcode == 0
    return trial if held else Trial(trial.fault, False, f"{trial.what}; other {other.exitcode}")


def _upgraded(setting: Setting, root: Path, moment: float) -> Trial:
    known = revisions()
    revision = setting.rng.choice(known[len(known) // 3 : -1])
    store = root / "mlruns" / "mlflow.db"
    forked(old_store, store, revision, RUNS).join(300)
    before = runs_of(store)
    at_work = killed([_opening(root)], moment)
    trial = _judged("while a store is upgraded", root, at_work, moment)
    if runs_of(store) != before:
        return Trial(trial.fault, False, f"runs differ; from {revision}, {trial.what}")
    kept = [runs_of(path) for path in store.parent.glob("mlflow.db.before-*")]
    if not kept or any(runs != before for runs in kept):
        return Trial(trial.fault, False, f"no copy from before; from {revision}, {trial.what}")
    return trial


def _half_made(setting: Setting, root: Path, moment: float) -> Trial:
    """Older versions let MLflow make the store in its place."""
    store = root / "mlruns" / "mlflow.db"
    store.parent.mkdir()
    at_work = killed([forked(_in_place, store)], moment)
    return _judged("while an older version made a store", root, at_work, moment)


def _trained(setting: Setting, root: Path, moment: float) -> Trial:
    fault = "`kill -9` of a training while its store is made, and again with `resume=true`"
    own = [option for option in TINY if not option.startswith("base.")]
    arguments = (*own, "tracking=mlflow", "base=scratch", "study=store", "resume=true")
    with started(root, *arguments) as process:
        lock = root / "mlruns" / ".mlflow.lock"
        while not lock.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moment)
        with suppress(ProcessLookupError):  # it may have come to its end
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    again = command(root, *arguments)
    found = sorted(statuses(root).values()) if again.code == 0 else []
    held = again.code == 0 and not again.complaint and found == ["FINISHED", "FINISHED"]
    what = "finished" if held else f"after {moment:.2f} s: {again.code} {found} {again.err[-300:]}"
    return Trial(fault, held, what)


def _judged(when: str, root: Path, at_work: bool, moment: float) -> Trial:
    """Open the store that is left, which has to be whole then, with nothing left over."""
    fault = f"`kill -9` {when}"
    again = _opening(root)
    again.join(300)
    store = root / "mlruns" / "mlflow.db"
    left = sorted(path.name for path in store.parent.glob("*.new*"))
    whole = again.exitcode == 0 and revision_of(store) == revisions()[-1]
    if whole and not left:
        return Trial(fault, True, "opens" if at_work else "opens; it had been made by then")
    what = f"after {moment:.2f} s: exit {again.exitcode}, left {left}" + " (killed)" * at_work
    return Trial(fault, False, what)


def killed(processes: Sequence[BaseProcess], moment: float) -> bool:
    """Kill processes after some seconds; say whether any was still at work."""
    time.sleep(moment)
    alive = [process for process in processes if process.is_alive()]
    for process in processes:
        process.kill()
        process.join()
    return bool(alive)


def _opening(root: Path) -> BaseProcess:
    return forked(_open, root / "mlruns")


def forked(function: Callable[..., None], *arguments: object) -> BaseProcess:
    """Start a function in a fork of this process."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def _open(mlruns: Path) -> None:
    logging.getLogger("adapterlab").setLevel(logging.ERROR)
    (default,) = connect(None, mlruns).search_experiments(filter_string="name = 'Default'")
    os._exit(0 if default.experiment_id == "0" else 3)  # at once: nothing of pytest's is to end


def _in_place(store: Path) -> None:
    from mlflow.store.db import utils

    untyped: Any = utils
    untyped._initialize_tables(untyped.create_sqlalchemy_engine(f"sqlite:///{store}"))
    os._exit(0)


def _seconds(root: Path) -> float:
    """Measure how long a store is made here now, with what is imported once."""
    import mlflow.db
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # so that no fork has to

    began = time.monotonic()
    _opening(root).join()
    return time.monotonic() - began
