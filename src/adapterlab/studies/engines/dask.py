"""Dask: a task of it is a pack, on a cluster that runs, or on one of this machine that is started.

A task takes one thread of a worker, which has a process of its own carry it out; see
`dask_worker`. What is lost goes on in another task, after its runs were marked.
"""

import dataclasses
import pickle
import uuid
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import AdapterLabError, ConfigError, RunLostError, first_line, with_type
from adapterlab.base.planned_place import Place
from adapterlab.base.workers import cores
from adapterlab.config.validation import STRICT
from adapterlab.studies.engines import Asked, Work
from adapterlab.studies.engines.clusters.dask_worker import carried_out
from adapterlab.studies.engines.clusters.futures import WatchedEngine, place_here
from adapterlab.studies.engines.clusters.on_node import Errand, Stopped, TaskStoppedError
from adapterlab.studies.engines.clusters.submitit_jobs import end_of

ANSWER_SECONDS = 10.0
"""In which a running cluster answers."""

Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    """Options of ``engine=dask``.

    Attributes:
        address: of a running scheduler, ``tcp://10.0.0.1:8786``; None starts a cluster in this
            process, and ends it.
        processes: without an address: tasks that are carried out at the same time.
    """

    address: Text | None = None
    processes: Annotated[int, Field(ge=1, le=1024)] | None = None

    def __post_init__(self) -> None:
        if self.address is not None and self.processes is not None:
            raise ConfigError(
                f"hydra.launcher.processes={self.processes} is of a cluster that is started here; "
                f"with address={self.address}, each thread of Dask's workers takes a task"
            )


def place(options: Options, asked: Asked) -> Place:
    """Return what a task will have: as it was said, or as Dask says of its workers.

    Raises:
        ConfigError: no scheduler answers, it has no workers, or they do not say how much memory
            they or their GPUs have.
    """
    gpu = bool(asked.gpu)
    if options.address is None:
        at_once = options.processes or (1 if gpu else cores())
        threads = asked.cores or max(cores() // at_once, 1)
        return place_here(at_once, threads, gpu=gpu, asked=asked)
    client = _client(options.address)
    try:
        workers = list(client.scheduler_info()["workers"].values())
    finally:
        client.close()
    where = f"hydra.launcher.address={options.address}"
    if not workers:
        raise ConfigError(f"{where}: Dask has no workers there; `dask worker` starts one")
    memory = asked.memory_gib
    if memory is None:
        limits = [(one["memory_limit"] or 0) / one["nthreads"] / 2**30 for one in workers]
        if gpu or not (memory := min(limits)):
            what = "the GPU has" if gpu else "a worker may use"
            raise ConfigError(
                f"{where}: how much memory {what}, Dask does not say; "
                "hydra.launcher.node.memory_gib=40 does"
            )
    at_once = sum(one["nthreads"] for one in workers)
    return Place(memory, asked.cores or 1, gpu, f"Dask at {options.address}", at_once)


def start(options: Options, work: Work) -> "DaskEngine":
    """Start it; see `engines`."""
    return DaskEngine(options, work)


@dataclasses.dataclass(frozen=True)
class _Job:
    """A task as Dask knows it, and where what it prints goes."""

    future: Any
    log: Path


class DaskEngine(WatchedEngine):
    """An `Engine` of Dask's tasks.

    Args:
        options: its own.
        work: that it is started for.
    """

    def __init__(self, options: Options, work: Work) -> None:
        super().__init__(work, "Dask")
        self._cluster: Any = None
        if options.address is None:
            from distributed import LocalCluster

            # Threads of this process, since workers leave the work to processes of their own.
            self._cluster = LocalCluster(
                n_workers=options.processes or cores(),
                threads_per_worker=1,
                processes=False,
                dashboard_address=None,
                silence_logs="ERROR",
            )
        self._client: Any = _client(self._cluster or options.address)

    def name(self, future: "Future[list[Any]]") -> str | None:
        """Return Dask's key of a task; see `Engine`."""
        return str(self._sent[future].job.future.key)

    def _begin(self, errand: Errand, attempts: int) -> Any:
        log = self._folder / "dask" / f"{errand.task.id}.log"
        call = pickle.dumps((errand, attempts, log))
        key = f"adapterlab-{errand.task.id}-{uuid.uuid4().hex[:8]}"
        try:
            return _Job(self._client.submit(carried_out, call, key=key, retries=0), log)
        except Exception as error:  # the scheduler is gone
            raise AdapterLabError(f"Dask takes no task: {with_type(error)}") from error

    def _stop(self, job: Any) -> None:
        job.future.cancel()

    def _is_done(self, job: Any) -> bool:
        return bool(job.future.done())

    def _came_of(self, job: Any) -> "list[Any] | Stopped":
        try:
            came_of: list[Any] | Stopped | Exception = pickle.loads(job.future.result())
        except CancelledError:
            raise TaskStoppedError("its task was cancelled") from None
        except AdapterLabError as error:
            came_of = error
        except Exception as error:  # a worker that was killed again and again, say
            raise RunLostError(f"Dask: {with_type(error)}") from None
        if isinstance(came_of, Exception):
            known = isinstance(came_of, AdapterLabError)
            line = first_line(came_of) if known else with_type(came_of)
            raise RunLostError(f"{line}{end_of([job.log])}")
        return came_of

    def _disconnect(self) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _client(at: Any) -> Any:
    """Return a client of a cluster.

    Raises:
        ConfigError: nobody answers.
    """
    from distributed import Client

    try:
        return Client(at, timeout=ANSWER_SECONDS, set_as_default=False)
    except Exception as error:  # of many kinds: no such host, another protocol, no certificate
        raise ConfigError(
            f"hydra.launcher.address={at}: no scheduler of Dask answers: {with_type(error)}"
        ) from error
