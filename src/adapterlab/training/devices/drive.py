"""Driving a training on several devices: this process starts theirs, listens, and ends them."""

import os
import queue
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.signals import end_if_signalled
from adapterlab.base.workers import IDLE_SECONDS, Worker, cores, queue_to_worker
from adapterlab.config.schema import Config
from adapterlab.data.batches import AnyBatches
from adapterlab.training.checkpoints import loaded
from adapterlab.training.devices.classifier import SharedClassifier
from adapterlab.training.devices.rank import Task, begin, train, write_task
from adapterlab.training.devices.trial import require_shares
from adapterlab.training.hardware import Device
from adapterlab.training.outcome import last_checkpoint
from adapterlab.training.progress import Progress
from adapterlab.training.throughput import Throughput

_POLL_SECONDS = 0.1

_PREFIX = "devices-"

_OTHERS_SECONDS = 2.0
"""In which the death of one process is seen after another has stumbled over it."""


class DeviceLostError(AdapterLabError):
    """The process of a device has died; it was no mistake of the user's."""

    exit_code = 1


def drive(
    module: SharedClassifier,
    data: AnyBatches,
    config: Config,
    device: Device,
    *,
    folder: Path,
    last: Path | None,
    progress: Progress,
    throughput: Throughput,
) -> None:
    """Train on several devices, a process each; see `training.fit.Drive`.

    None of the processes begins the command line anew, and none but this one knows of locks,
    stores and pictures. They end with this one, and with each other.

    Raises:
        ConfigError: the model does not compute rows of a batch each for itself.
        DeviceLostError: a process has died.
    """
    devices = config.hardware.devices
    unused = require_shares(module.model, data, devices, device.of_whole)
    threads = config.hardware.threads or max(1, cores() // devices)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PREFIX}*"):  # of a command that was killed
        shutil.rmtree(left, ignore_errors=True)
    # Beside the checkpoints: it is as large as the model and the data.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as place:
        path = Path(place) / "task.pt"
        write_task(Task(module, data, config, device, folder, last, unused), path)
        with _processes(devices, keep=device.torch.type == "cpu") as processes:
            trainings = processes.begin(path, Path(place) / "meeting", threads)
            try:
                processes.listen(trainings, module, progress)
            finally:
                progress.end()
    module.on_load_checkpoint(loaded(last_checkpoint(folder)))
    throughput.told(*trainings[0].result())


class _Processes:
    """The processes of several devices.

    Args:
        devices: how many.
    """

    def __init__(self, devices: int) -> None:
        self._told, self._taken = queue_to_worker(), queue_to_worker()
        self._workers = [
            Worker(begin, self._told, self._taken, idle_seconds=IDLE_SECONDS)
            for _ in range(devices)
        ]

    def begin(self, path: Path, meeting: Path, threads: int) -> "list[Future[Any]]":
        """Have all begin to train; see `rank.train`.

        Raises:
            BrokenExecutor: one has died before.
        """
        return [
            worker.submit(train, path, meeting, rank, threads)
            for rank, worker in enumerate(self._workers)
        ]

    def listen(
        self, trainings: "list[Future[Any]]", module: SharedClassifier, progress: Progress
    ) -> None:
        """Take what the first has to tell, until all are done.

        Raises:
            DeviceLostError: a process has died.
        """
        while True:
            try:
                what, *said = self._told.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                end_if_signalled()
                if any(each.done() and each.exception() for each in trainings):
                    _raise_first(trainings)
                continue
            if what == "begin":
                progress.begin(*said)
            elif what == "steps":
                for _ in range(*said):
                    progress.step()
            elif what == "epoch":
                assert module.report is not None
                module.report(*said)
                self._taken.put(None)
            else:
                break
        wait(trainings)
        _raise_first(trainings)

    def kill(self) -> None:
        """End them, whatever they are at."""
        for worker in self._workers:
            worker.kill()


_idle: dict[int, _Processes] = {}
"""Processes that wait for the next run, by their number; they end by themselves after a while."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # they are the parent's


@contextmanager
def _processes(devices: int, *, keep: bool) -> Iterator[_Processes]:
    """Yield processes for one training, those of the one before if they are left.

    Args:
        devices: how many.
        keep: let them wait for the next one; they hold on to a GPU's memory.
    """
    processes = _idle.pop(devices, None) or _Processes(devices)
    try:
        yield processes
    except BaseException:
        processes.kill()
        raise
    if keep:
        _idle[devices] = processes
    else:
        processes.kill()


def _raise_first(trainings: "list[Future[Any]]") -> None:
    """Raise what has ended a process, the first cause of what has ended the others.

    Raises:
        DeviceLostError: one has died.
    """
    wait(trainings, _OTHERS_SECONDS)
    # All may have been told to end, and died before this one has heard of it.
    time.sleep(0)
    end_if_signalled()
    errors = {
        rank: error
        for rank, training in enumerate(trainings)
        if training.done() and (error := training.exception()) is not None
    }
    for rank, error in errors.items():
        if isinstance(error, BrokenExecutor):
            raise DeviceLostError(
                f"the process of device {rank} of {len(trainings)} has died (out of memory?); "
                "resume=true goes on from the last epoch"
            ) from None
    for error in sorted(errors.values(), key=lambda error: not isinstance(error, AdapterLabError)):
        raise error
