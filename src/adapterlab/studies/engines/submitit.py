"""Slurm, through submitit: a task is a job of an array; or, to try that out, this machine.

What submitit sends is a `Job`, which has the `checkpoint` that submitit asks for. Signals are its
own (`base.task_signals`): runs are marked first, and only then does submitit requeue the job.
"""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from adapterlab.base.errors import (
    AdapterLabError,
    ConfigError,
    MemoryLackError,
    RunLostError,
    with_type,
)
from adapterlab.base.planned_place import Place
from adapterlab.base.signals import hangups_held, interrupts_held
from adapterlab.base.workers import cores
from adapterlab.studies.engines import Asked, Work
from adapterlab.studies.engines.clusters import slurm
from adapterlab.studies.engines.clusters.looks import Looks, lose
from adapterlab.studies.engines.clusters.on_node import Errand, inherited
from adapterlab.studies.engines.clusters.submitit_jobs import Job, log_of, settle
from adapterlab.studies.engines.clusters.submitit_options import Options as Options
from adapterlab.studies.engines.clusters.submitit_options import at_once, parameters
from adapterlab.studies.engines.clusters.submitit_processes import (
    is_controller,
    refusals,
    search_path,
    send_signal,
)
from adapterlab.studies.engines.clusters.submitit_recorded import end_recorded as end_recorded
from adapterlab.studies.engines.clusters.submitit_recorded import open_recorded as open_recorded
from adapterlab.studies.engines.clusters.submitit_recorded import require_reach as require_reach
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.records import Record, read_there
from adapterlab.studies.tasks.sent import Sent

POLL_SECONDS = 0.5
"""Between two looks for results of few tasks; of many, files are read less often."""

_FEW = 50

ASK_SECONDS = 10.0
"""Between two questions to Slurm, which many ask."""

GRACE_SECONDS = 20.0
"""After a job's end until its result must be there: file systems of clusters take their time."""

_REQUEUES = 1_000
"""Timeouts after which submitit gives up; a task itself stops where it comes no epoch further."""


def place(options: Options, asked: Asked) -> Place:
    """Return what a task will have: as it was said, as it is asked for, or as Slurm says.

    Raises:
        ConfigError: there is no Slurm, or it does not know how much memory a GPU has.
    """
    gpu = options.gpus_per_node > 0 if asked.gpu is None else asked.gpu
    memory = asked.memory_gib
    if options.cluster == "local":
        tasks = at_once(options)
        threads = asked.cores or options.cpus_per_task or max(cores() // tasks, 1)
        return Place(memory or _free(gpu=gpu) / tasks, threads, gpu, "this machine", tasks)
    slurm.require()
    words = "Slurm" if options.partition is None else f"Slurm, partition {options.partition}"
    threads = asked.cores or options.cpus_per_task or 1
    if memory is None and gpu:
        raise ConfigError(
            f"hydra.launcher.gpus_per_node={options.gpus_per_node}: how much memory the GPU has, "
            "Slurm does not say; hydra.launcher.node.memory_gib=40 does"
        )
    if memory is None:
        memory = options.mem_gb or slurm.memory_gib(options.partition, threads)
    return Place(memory, threads, gpu, words, options.array_parallelism)


def start(options: Options, work: Work) -> "SubmititEngine":
    """Start it; see `engines`."""
    return SubmititEngine(options, work)


class SubmititEngine:
    """An `Engine` of jobs that submitit submits.

    Args:
        options: its own.
        work: that it is started for.
    """

    def __init__(self, options: Options, work: Work) -> None:
        import submitit

        self._options, self._folder = options, work.folder
        self.cluster = options.cluster
        self._environment = inherited(waited_for=work.waited_for)
        self._waited_for = work.waited_for
        logs = work.folder / "submitit"
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)  # configurations name servers with keys
        of = submitit.LocalExecutor if options.cluster == "local" else submitit.SlurmExecutor
        self._executor = of(folder=logs, max_num_timeout=_REQUEUES)
        self._executor.update_parameters(**parameters(options, work.study))
        self._lock = threading.RLock()
        self._line: list[Sent] = []
        self._sent: dict[Future[list[Any]], Sent] = {}
        self._asked = time.monotonic()
        self._grace = GRACE_SECONDS if options.cluster == "slurm" else POLL_SECONDS
        self._closed = threading.Event()
        self._looks = Looks("submitit")
        self._watcher = threading.Thread(target=self._watch, name="submitit", daemon=True)

    def submit(self, task: Task) -> "Future[list[Any]]":
        """Have a task carried out; see `Engine`."""
        new = Sent.of(task, self._folder)
        with self._lock:
            self._sent[new.future] = new
            self._line.append(new)
        return new.future

    def adopt(self, task: Task, record: Record) -> "Future[list[Any]] | None":
        """Take up a job of an earlier command; see `Lasting`."""
        job = self._executor.job_class(folder=self._executor.folder, job_id=str(record.job))
        if not job.paths.result_pickle.exists() and not self._is_open(str(record.job)):
            return None
        there = read_there(self._folder, task.id)
        earlier = there is not None and there.at < record.submitted
        sent = Sent(task, Future(), before=there.attempts if there and earlier else 0, job=job)
        with self._lock:
            self._sent[sent.future] = sent
        if not self._watcher.is_alive():
            self._watcher.start()
        return sent.future

    def send(self) -> None:
        """Submit what has been gathered: to Slurm as one array; see `Engine`."""
        with self._lock:
            open_here = [one for one in self._sent.values() if one.job and not one.future.done()]
            room = len(self._line)
            if self._options.cluster == "local" and self._waited_for:
                room = max(at_once(self._options) - len(open_here), 0)
            going, self._line = self._line[:room], self._line[room:]
            if not going:
                return
            going.sort(key=lambda one: one.task.after)  # what others come after is sent first
            for after, some in groupby(going, key=lambda one: one.task.after):
                self._send_after(after, list(some))
        if not self._watcher.is_alive():
            self._watcher.start()

    def _send_after(self, after: tuple[str, ...], going: list[Sent]) -> None:
        """Submit tasks, which are of no use before others have ended, however these have."""
        batch = self._executor.batch
        # Nor Ctrl-C nor a closed terminal are for jobs: this command tells them to end.
        with self._waiting_for(after), interrupts_held(), hangups_held(), search_path(), refusals():
            with batch():
                jobs = [self._executor.submit(self._job(one.task)) for one in going]
            for sent, job in zip(going, jobs, strict=True):
                sent.job = job

    @contextmanager
    def _waiting_for(self, after: tuple[str, ...]) -> Iterator[None]:
        """Have Slurm hold jobs back until those of other tasks have ended."""
        if not after or self._options.cluster == "local":
            yield
            return
        jobs = [str(one.job.job_id) for one in self._sent.values() if one.task.id in after]
        own: dict[str, Any] = {"requeue": True}
        held = own | {"dependency": ":".join(["afterany", *jobs])}
        self._executor.update_parameters(additional_parameters=held)
        try:
            yield
        finally:
            self._executor.update_parameters(additional_parameters=own)

    def cancel(self, future: "Future[list[Any]]") -> None:
        """End a task; see `Engine`."""
        with self._lock:
            sent = self._sent[future]
            if sent in self._line:
                self._line.remove(sent)
            sent.cancelled = True
            future.cancel()
            if sent.job is not None and not sent.job.paths.result_pickle.exists():
                self._end(sent.job)

    def name(self, future: "Future[list[Any]]") -> str | None:
        """Return the number of a job; see `Engine`."""
        sent = self._sent[future]
        return None if sent.job is None else str(sent.job.job_id)

    def where(self, future: "Future[list[Any]]") -> str | None:
        """Return the node of a job; see `Engine`."""
        sent = self._sent[future]
        return None if sent.there is None else f"job {self.name(future)} on {sent.there.host}"

    def moved(self, future: "Future[list[Any]]") -> float:
        """Return how far a task has moved on; see `Engine`."""
        return self._sent[future].moved()

    def close(self) -> None:
        """Leave jobs to themselves that have not ended; see `Engine`."""
        self._closed.set()
        if self._watcher.is_alive():
            self._watcher.join(10)

    def _job(self, task: Task) -> Job:
        errand = Errand(task, self._folder, self._environment)
        # Nobody is there who would start one when another has ended.
        in_turn = self._options.cluster == "local" and not self._waited_for
        return Job(errand, at_once(self._options) if in_turn else None)

    def _is_open(self, job: str) -> bool:
        """Say whether a job waits or is carried out.

        Raises:
            AdapterLabError: Slurm does not answer.
        """
        if self._options.cluster == "local":
            return is_controller(int(job))
        states = slurm.states([job])
        if states is None:
            raise AdapterLabError("Slurm does not answer: `squeue` says what is wrong")
        return states[job].is_open

    def _end(self, job: Any) -> None:
        if self._options.cluster == "slurm":
            slurm.cancel(str(job.job_id))
        else:
            # Not its `cancel`, which gives tasks a second between SIGINT and SIGKILL.
            send_signal(int(job.job_id), signal.SIGTERM)

    def _watch(self) -> None:
        """Look for what has begun and ended, until the engine is closed."""
        now: list[Sent] = []
        while not self._closed.wait(POLL_SECONDS * max(len(now) / _FEW, 1)):
            with self._lock:
                now = [one for one in self._sent.values() if one.job and not one.future.done()]
            states = self._states(now)
            for sent in now:
                with self._lock, self._looks.at(sent):
                    sent.look(self._folder)
                    self._look(sent, states.get(str(sent.job.job_id)))
            if self._line:
                self._send_now()

    def _send_now(self) -> None:
        """Submit what there is room for; what cannot be is lost, and tried again as that is."""
        try:
            self.send()
        except Exception as error:  # no other thread hears of it
            with self._lock:
                for sent in self._sent.values():
                    if sent.job is None and sent not in self._line:
                        lose(sent, f"it could not be submitted: {with_type(error)}")

    def _states(self, sent: "list[Sent]") -> "dict[str, slurm.State]":
        """Return the states of jobs, where it is time to ask for them."""
        numbers = [str(one.job.job_id) for one in sent]
        if not numbers:
            return {}
        if self._options.cluster == "local":
            alive = {number: send_signal(int(number), 0) for number in numbers}
            return {n: slurm.State("RUNNING" if alive[n] else "GONE", alive[n]) for n in numbers}
        if time.monotonic() - self._asked < ASK_SECONDS:
            return {}
        self._asked = time.monotonic()
        return slurm.states(numbers) or {}

    def _look(self, sent: "Sent", state: "slurm.State | None") -> None:
        future = sent.future
        result = sent.job.paths.result_pickle
        if sent.there is not None and not future.running() and not future.done():
            future.set_running_or_notify_cancel()
        if result.exists():
            if not future.running() and not future.set_running_or_notify_cancel():
                return
            settle(future, result, sent)
            return
        if state is not None and (state.is_open or sent.gone_at is None):
            sent.ended_as = state.word
            sent.gone_at = None if state.is_open else time.monotonic()
        if sent.gone_at is None or time.monotonic() - sent.gone_at < self._grace:
            return
        if not future.running() and not future.set_running_or_notify_cancel():
            return
        said = f"job {sent.job.job_id} ended as {sent.ended_as}{log_of(sent.job)}"
        lacks = sent.ended_as == "OUT_OF_MEMORY"
        future.set_exception(MemoryLackError(said) if lacks else RunLostError(said))


def _free(*, gpu: bool) -> float:
    """Return the memory that is free on this machine, in GiB."""
    import psutil

    if gpu:
        import torch

        if torch.cuda.is_available():
            return float(torch.cuda.mem_get_info()[0]) / 2**30
    return float(psutil.virtual_memory().available) / 2**30
