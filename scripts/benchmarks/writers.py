"""Many runs that end at the same moment on one MLflow server over PostgreSQL, and what arrives.

    python scripts/benchmarks/writers.py                                # 20, 200 and 20 runs again
    python scripts/benchmarks/writers.py --runs 20,200 --writers 20     # of 20 processes
    python scripts/benchmarks/writers.py --uri http://HOST:5000         # on a server that runs
    python scripts/benchmarks/writers.py --away 8 --lost postgresql     # it is killed in the middle
    python scripts/benchmarks/writers.py --direct --writers 40          # no server between

One run is trained, and its files and figures are written again and again under other seeds, by the
code that every run uses (`tracked`, `log_end`): each writer is a process that opens its share of
the runs as a pack does, reports all epochs, waits for the others, and ends one run after another.
A PostgreSQL of Debian's packages and a server that keeps the files are started for it, and have
answered to so many runs before anything is counted. With
`--away` one of them is killed while runs end, and started again after so many seconds; what
`scripts/sync.py` does then delivers what is left. The exit code is 1 where anything is missing.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from threading import Timer
from typing import Any

import hydra
import numpy as np
from arrived import arrived, tags_of
from rich.console import Console
from rich.table import Table
from served import Seen, served

from adapterlab.app.script_options import Parser, at_least, positive, several
from adapterlab.config.conf_folder import CONF
from adapterlab.config.hydra_versions import composing
from adapterlab.config.multirun import begin_multirun
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.undelivered import sync
from adapterlab.runs.identity import run_name
from adapterlab.runs.lifecycle import log_end
from adapterlab.runs.single import run
from adapterlab.tracking.client import connect
from adapterlab.tracking.mlflow_run import tracked
from adapterlab.tracking.servers.journal import take_left
from adapterlab.tracking.study_run import end_multirun

RUN = ("dataset=digits_rotated", "adapter=lora", "base=scratch", "tracking=none", "hardware=cpu")

LATE = ("baseline", "adapter_sha256", "frozen_prefix", "data_notes")
"""Tags that a run has at its end only."""

_PROCESSES = get_context("fork")
_ANEW = get_context("spawn")
"""Of a database that they write to themselves: a connection is no other process's after a fork."""


@dataclass(frozen=True)
class Wrote:
    """What a writer tells: seconds since the start of a phase, and of its own processor.

    Attributes:
        seconds: of its last run to be opened, or from the start of the end of each run to its end.
        last: when its last run had ended.
        cpu: user and system.
        left: runs of which MLflow has not all.
        error: what stopped it, in words.
    """

    seconds: tuple[float, ...] = ()
    last: float = 0.0
    cpu: float = 0.0
    left: int = 0
    error: str = ""


@dataclass(frozen=True)
class Phase:
    """What it took to open or to end all runs of a study.

    Attributes:
        wall: seconds from the start to the last writer's end.
        writers: processor seconds of all writers.
        server: of the MLflow server; None where it is not seen.
        database: likewise.
    """

    wall: float
    writers: float
    server: float | None
    database: float | None


def trained(root: Path, epochs: int) -> tuple[Config, RunResult]:
    """Train the run that is written again and again, in a process of its own."""
    with composing(CONF, job_name="train"):
        asked = [*RUN, f"epochs={epochs}", f"root={root}", "study=model", "hardware.threads=1"]
        config = parse(hydra.compose("train", asked))
    process = _PROCESSES.Process(target=run, args=(config,))
    process.start()
    process.join()
    result = RunFolder.of(config).finished()
    assert result is not None, "the run was not trained"
    return config, result


def copies(config: Config, result: RunResult, study: str, uri: str, count: int) -> list[Config]:
    """Return configurations of as many runs, whose folders have the files of the first."""
    made = []
    for seed in range(count):
        own = replace(
            config,
            study=study, seed=seed, init_seed=seed, order_seed=seed,
            tracking=replace(config.tracking, enabled=True, uri=uri),
        )  # fmt: skip
        shutil.copytree(result.folder, RunFolder.of(own).path)
        made.append(own)
    return made


def write(
    configs: Sequence[Config], result: RunResult, opened: Any, ending: Any, told: Any
) -> None:
    """Open runs as a pack does, and end them one after another when all writers are there."""
    logging.getLogger("adapterlab").setLevel(logging.ERROR)  # a line a run that is left, say
    try:
        ends = []
        with ExitStack() as every:
            opened.wait()
            start, cpu = time.perf_counter(), time.process_time()
            for config in configs:
                folder, one = RunFolder.of(config), every.enter_context(ExitStack())
                one.enter_context(folder.lock(wait=False))
                known = tags_of(result, config)
                tags = {name: value for name, value in known.items() if name not in LATE}
                open_run = tracked(config, folder.link, name=run_name(config), tags=tags)
                tracker: Any = one.enter_context(open_run)
                tracker.data(tags["dataset"], tags["data_hash"])
                for epoch, metrics in result.history.items():
                    tracker.log(metrics=metrics, step=epoch)
                ends.append((config, folder, tracker, tags, one))
            while any(end[2].journal.is_waiting for end in ends):
                time.sleep(0.01)
            last = time.perf_counter() - start
            told.put(("opened", Wrote((last,), last, time.process_time() - cpu)))
            ending.wait()
            start, cpu, took = time.perf_counter(), time.process_time(), []
            for config, folder, tracker, tags, one in ends:
                began = time.perf_counter()
                own = replace(result, tags=tags_of(result, config))
                log_end(own, folder, tracker, known=tags)
                one.close()
                took.append(time.perf_counter() - began)
        wrote = time.perf_counter() - start, time.process_time() - cpu
        told.put(("ended", Wrote(tuple(took), *wrote, left=len(take_left()))))
    except BaseException as error:
        told.put(("error", Wrote(error=f"{type(error).__name__}: {error}")))
        opened.abort()
        ending.abort()


def wrote(
    configs: Sequence[Config],
    result: RunResult,
    writers: int,
    seen: Seen,
    meanwhile: Callable[[], list[Timer]],
) -> tuple[Phase, Phase, list[Wrote], list[Timer]]:
    """Write a study by so many processes; return what opening and ending its runs took.

    Args:
        configs: of its runs.
        result: of each of them.
        writers: processes.
        seen: processes of the other side.
        meanwhile: called when the runs begin to end; what it has begun is returned as well.
    """
    by_server = str(configs[0].tracking.uri).startswith("http")
    context: Any = _PROCESSES if by_server else _ANEW
    opened, ending = (context.Barrier(writers + 1) for _ in range(2))
    told: Any = context.Queue()
    shares = [configs[n::writers] for n in range(writers)]
    processes = [
        context.Process(target=write, args=(share, result, opened, ending, told), daemon=True)
        for share in shares
    ]
    for process in processes:
        process.start()
    phases: list[Phase] = []
    answers: list[Wrote] = []
    for barrier, name in ((opened, "opened"), (ending, "ended")):
        before = seen.now()
        barrier.wait()
        timers = meanwhile() if name == "ended" else []
        answers = []
        for _ in processes:
            what, answer = told.get(timeout=1800)
            if what != name:
                raise SystemExit(f"a writer has failed: {answer.error or what}")
            answers.append(answer)
        after = seen.now()
        sides = [
            None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)
        ]
        wall = max(answer.last for answer in answers)
        phases.append(Phase(wall, sum(answer.cpu for answer in answers), *sides))
    for process in processes:
        process.join()
    return phases[0], phases[1], answers, timers


def main() -> None:
    """Write studies of the sizes that are asked for, and print what they took and what arrived."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--runs", type=several(1), default="20,200,20", help="of the studies, one after another"
    )
    parser.add_argument("--writers", type=at_least(1), default=10, help="processes")
    parser.add_argument("--epochs", type=at_least(1), default=20, help="of a run")
    parser.add_argument("--uri", help="of a server; without it one is started")
    parser.add_argument(
        "--workers", type=at_least(1), default=4, help="of the server that is started"
    )
    parser.add_argument("--direct", action="store_true", help="runs write to the PostgreSQL itself")
    parser.add_argument("--away", type=positive, help="seconds for which something is killed")
    parser.add_argument("--lost", default="server", choices=["server", "postgresql"])
    asked = parser.parse_args()
    if asked.uri is not None and (asked.away is not None or asked.direct):
        parser.error("--away and --direct are of what is started here")
    if asked.direct and asked.lost == "server":
        asked.lost = "postgresql"
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="writers-")))
        config, result = trained(root, asked.epochs)
        own = served(asked.uri, asked.workers, root, direct=asked.direct)
        uri, seen, away = stack.enter_context(own)
        sys.exit(_studies(asked, config, result, uri, seen, away))


def _studies(
    asked: argparse.Namespace, config: Config, result: RunResult, uri: str, seen: Seen, away: Any
) -> int:
    console = Console(width=160)
    columns = ("runs", "phase", "wall s", "wall s/run", "a run's own s (95%)")
    table = Table(*columns, "writers CPU s/run", "server CPU s/run", "database CPU s/run")
    sizes, missed = asked.runs, False
    for number, size in enumerate([asked.writers, *sizes]):
        study, writers = f"writers-{uuid.uuid4().hex[:8]}", min(asked.writers, size)
        configs = copies(config, result, study, uri, size)
        multirun, client = begin_multirun(), connect(uri, config.mlruns)
        begin = partial(away, asked.lost, asked.away) if asked.away and number else list
        first, second, answers, timers = wrote(configs, result, writers, seen, begin)
        for timer in timers:
            timer.join()
        end_multirun(client, config.tracking.experiment, study, multirun, "FINISHED")
        if not number:
            continue  # the server has loaded what it loads at its first answers
        table.add_row(*_row(size, "begin", first, [np.nan]))
        table.add_row(*_row(size, "end", second, [s for one in answers for s in one.seconds]))
        said = f"{size} runs by {writers} processes"
        if asked.away:
            left, synced = sum(one.left for one in answers), sync(config.mlruns, [study])
            said += f", {asked.lost} killed: {left} were left, {len(synced.delivered)} by sync"
        came = arrived(client, configs, result)
        missed = missed or not came.is_all
        counts = ", ".join(f"{came.found[n]:,} of {came.written[n]:,} {n}" for n in came.written)
        print(f"{said}: {counts}; {len(came.wrong)} wrong", flush=True)
        for line in came.wrong[:5]:
            print(f"  {line}")
    console.print(table)
    return int(missed)


def _row(size: int, name: str, phase: Phase, own: Sequence[float]) -> list[str]:
    each = (phase.wall, phase.writers, phase.server, phase.database)
    median, late = np.percentile(own, [50, 95])
    shown = "" if np.isnan(median) else f"{median:.2f} ({late:.2f})"
    wall, *cpu = ("-" if x is None else f"{x / size:.3f}" for x in each)
    return [str(size), name, f"{phase.wall:.1f}", wall, shown, *cpu]


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
