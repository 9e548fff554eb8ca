"""Ray: a task of it is a pack, on a cluster that runs, or on one of this machine that is started.

Tasks are in the main thread of Ray's workers, which keep what they have loaded and read. Ray itself
tries nothing again: what is lost goes on in another task, after its runs were marked.
"""

import contextlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import ConfigError, MemoryLackError, RunLostError, first_line, with_type
from adapterlab.base.interrupts import HELD
from adapterlab.base.planned_place import Place
from adapterlab.base.signals import hangups_held, interrupts_held
from adapterlab.config.validation import STRICT
from adapterlab.studies.engines import Asked, Work
from adapterlab.studies.engines.clusters.futures import WatchedEngine, place_here
from adapterlab.studies.engines.clusters.on_node import Errand, Stopped, TaskStoppedError
from adapterlab.studies.engines.clusters.submitit_processes import import_paths, search_path

STORE_BYTES = 2 * 10**8
"""Of shared memory for what Ray's tasks hand each other, which are results of a few kilobytes."""

ANSWER_SECONDS = 10.0
"""In which a running cluster answers; Ray itself asks for minutes, and says so line by line."""

ASKS_FOR_TOKEN = (
    "it asks for a token, and was shown another or none; Ray takes RAY_AUTH_TOKEN, "
    "RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, and with an address RAY_AUTH_MODE=token as well"
)

_connected: set[str] = set()
"""Addresses that this module has connected the process to: what it ends, and nobody else's."""

Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    """Options of ``engine=ray``.

    Attributes:
        address: of a running cluster, ``10.0.0.1:6379``, or ``auto`` for the one of this machine;
            None starts one on this machine, and ends it.
        cpus_per_task: threads of a task.
        gpus_per_node: of a task.
        processes: without an address: tasks that are carried out at the same time.
    """

    address: Text | None = None
    cpus_per_task: Annotated[int, Field(ge=1, le=4096)] = 1
    gpus_per_node: Annotated[int, Field(ge=0, le=1)] = 0
    processes: Annotated[int, Field(ge=1, le=1024)] | None = None

    def __post_init__(self) -> None:
        if self.address is not None and self.processes is not None:
            raise ConfigError(
                f"hydra.launcher.processes={self.processes} is of a cluster that is started here; "
                f"with address={self.address}, Ray knows what there is room for"
            )


def place(options: Options, asked: Asked) -> Place:
    """Return what a task will have: as it was said, or as Ray says of its nodes.

    Raises:
        ConfigError: no cluster answers, none of its nodes has what a task asks for, or it does not
            know how much memory a GPU has.
    """
    gpu = options.gpus_per_node > 0 if asked.gpu is None else asked.gpu
    if options.address is None:
        threads = asked.cores or options.cpus_per_task
        own = options.gpus_per_node > 0
        return place_here(options.processes, threads, gpu=gpu, asked=asked, apart=own)
    if gpu and asked.memory_gib is None:
        raise ConfigError(
            f"hydra.launcher.gpus_per_node={options.gpus_per_node}: how much memory the GPU has, "
            "Ray does not say; hydra.launcher.node.memory_gib=40 does"
        )
    _connect(options)
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = [(_tasks(node, options), node.get("memory", 0.0) / 2**30) for node in nodes]
    room = [(tasks, gib) for tasks, gib in room if tasks]
    if not room:
        least = f"{options.cpus_per_task} CPUs"
        least += " and a GPU" if options.gpus_per_node else ""
        raise ConfigError(
            f"hydra.launcher.address={options.address}: no node of Ray has {least} for a task; "
            f"its nodes have: {_told(nodes)}"
        )
    memory = asked.memory_gib or min(gib / tasks for tasks, gib in room)
    words = f"Ray at {options.address}"
    threads = asked.cores or options.cpus_per_task
    return Place(memory, threads, gpu, words, sum(tasks for tasks, _ in room))


def start(options: Options, work: Work) -> "RayEngine":
    """Start it; see `engines`."""
    return RayEngine(options, work)


class RayEngine(WatchedEngine):
    """An `Engine` of Ray's tasks.

    Args:
        options: its own.
        work: that it is started for.
    """

    def __init__(self, options: Options, work: Work) -> None:
        super().__init__(work, "Ray")
        _connect(options)
        import ray

        # A worker that is there already, of a running cluster, imports what this process does.
        variables = {"PYTHONPATH": import_paths()} if options.address else {}
        self._task = ray.remote(
            num_cpus=options.cpus_per_task,
            num_gpus=options.gpus_per_node,
            max_retries=0,
            runtime_env={"env_vars": variables} if variables else None,
        )(carried_out)

    def name(self, future: "Future[list[Any]]") -> str | None:
        """Return Ray's own number of a task; see `Engine`."""
        return str(self._sent[future].job.task_id().hex())

    def _begin(self, errand: Errand, attempts: int) -> Any:
        return self._task.remote(errand)

    def _stop(self, job: Any) -> None:
        import ray

        ray.cancel(job)

    def _is_done(self, job: Any) -> bool:
        import ray

        return bool(ray.wait([job], timeout=0)[0])

    def _came_of(self, job: Any) -> "list[Any] | Stopped":
        import ray
        from ray import exceptions

        try:
            came_of: list[Any] | Stopped = ray.get(job)
        except exceptions.TaskCancelledError:
            raise TaskStoppedError("its task was cancelled") from None
        except exceptions.OutOfMemoryError as error:
            raise MemoryLackError(f"Ray: {first_line(error)}") from None
        except exceptions.RayTaskError as error:
            raise RunLostError(with_type(error.cause)) from None
        except exceptions.RayError as error:
            raise RunLostError(f"Ray: {with_type(error)}") from None
        return came_of

    def _disconnect(self) -> None:
        import ray

        self._task = None
        if _connected:
            _connected.clear()
            with interrupts_held():
                ray.shutdown()


def carried_out(errand: Errand) -> "list[Any] | Stopped":
    """In a worker of Ray: carry a task out. Ray cancels it by SIGINT, which ends it as SIGTERM."""
    before = signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        return errand()
    finally:
        signal.signal(signal.SIGINT, before)


def _connect(options: Options) -> None:
    """Connect this process to Ray, unless it is; a cluster of its own is started.

    Raises:
        ConfigError: no cluster answers.
    """
    for name, value in _variables(own=options.address is None).items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        _require_same(options.address)
        return
    told: dict[str, Any] = {"address": options.address}
    if options.address is None:
        at_once = place(options, Asked()).tasks
        told = {
            "address": "local",
            "num_cpus": at_once * options.cpus_per_task,
            "num_gpus": at_once * options.gpus_per_node,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }
    else:
        _require_answer(options.address)
    try:
        with _own_handlers(), interrupts_held(), hangups_held(), search_path():
            ray.init(**told, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of many kinds, whatever it is that does not answer
        at = "" if options.address is None else f"address={options.address}: "
        why = ASKS_FOR_TOKEN if _wants_token(error) else with_type(error)
        raise ConfigError(f"hydra.launcher.{at or 'engine=ray: '}{why}") from error
    _connected.add(str(told["address"]))


def _wants_token(error: BaseException | None) -> bool:
    """Say whether a cluster has not let this process in; Ray says so in the causes of an error."""
    while error is not None:
        if "AuthenticationError" in f"{type(error).__name__}: {error}":
            return True
        error = error.__cause__ or error.__context__
    return False


def _require_same(address: str | None) -> None:
    """Refuse an address where this process is connected to another.

    Raises:
        ConfigError: it is.
    """
    import ray

    now = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", now) and address not in _connected:
        raise ConfigError(
            f"hydra.launcher.address={address}: this process is connected to Ray at {now}"
        )


def _require_answer(address: str) -> None:
    """Refuse an address at which nobody listens.

    Raises:
        ConfigError: there is none.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        return
    import ray

    # Ray takes the loopback address for the one that others reach this machine by.
    hosts = [host, ray.util.get_node_ip_address()] if host in ("127.0.0.1", "localhost") else [host]
    for each in hosts:
        with contextlib.suppress(OSError):
            socket.create_connection((each, int(port)), ANSWER_SECONDS).close()
            return
    raise ConfigError(f"hydra.launcher.address={address}: nobody answers there; is Ray started?")


@cache
def _variables(*, own: bool) -> dict[str, str]:
    """Return variables that Ray reads.

    Nothing is reported to its makers. A cluster of this process's own asks for a token, by Ray's
    default; it would be written into the home folder if Ray made it.
    """
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if not own:
        return quiet
    return quiet | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep the handlers of signals, one of which Ray replaces in the process that connects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(TypeError):  # one that was not set from Python
                signal.signal(number, handler)


def _tasks(node: dict[str, float], options: Options) -> int:
    """Return how many tasks a node has room for at the same time."""
    tasks = int(node.get("CPU", 0) // options.cpus_per_task)
    if options.gpus_per_node:
        tasks = min(tasks, int(node.get("GPU", 0)))
    return tasks


def _told(nodes: list[dict[str, float]]) -> str:
    offers = {f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes}
    return "; ".join(sorted(offers)) or "nothing"
