"""The process of one device of several: it trains, and the first of them says how far it is."""

import copy
import os
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from adapterlab.base.files import writing
from adapterlab.base.signals import in_helping_process
from adapterlab.config.schema import Config
from adapterlab.data.batches import AnyBatches
from adapterlab.training.devices.classifier import SharedClassifier, SharedData
from adapterlab.training.devices.shares import SharedBatch, SharedDraws
from adapterlab.training.devices.trainer import make_shared_trainer
from adapterlab.training.hardware import Device
from adapterlab.training.lightning.callbacks import Clock, Keeping
from adapterlab.training.lightning.drive import interrupts, quieten
from adapterlab.training.lightning.imported import pl
from adapterlab.training.throughput import Throughput

_OFTEN_SECONDS = 0.1
"""At most so often steps are told."""

_LOOPBACK = "lo"


@dataclass(frozen=True)
class Task:
    """What all processes train together.

    Attributes:
        module: that is trained.
        data: its batches.
        config: of the run.
        device: the first.
        folder: for checkpoints.
        last: the checkpoint to go on from; None to begin.
        unused: whether something is trained that a batch does not reach.
    """

    module: SharedClassifier
    data: AnyBatches
    config: Config
    device: Device
    folder: Path
    last: Path | None
    unused: bool


_told: Any = None
"""In a process of a device: takes what the first has to tell."""

_taken: Any = None
"""Likewise: gives a word when an epoch's metrics have been taken."""


def begin(told: Any, taken: Any) -> None:
    """Begin the life of a process of a device."""
    global _told, _taken  # a process has one
    in_helping_process()
    _told, _taken = told, taken


def write_task(task: Task, path: Path) -> None:
    """Write what processes train to a file, which they read and nobody else.

    Raises:
        FullDiskError: there is no room.
    """
    import cloudpickle  # as the processes' own pool does it: models may have functions in them

    module = copy.copy(task.module)
    module.report = None
    with writing(path) as file:
        torch.save(replace(task, module=module), file, pickle_module=cloudpickle)


def train(path: Path, meeting: Path, rank: int, threads: int) -> tuple[float | None, str]:
    """Train on one of several devices, as long as the others do.

    Args:
        path: of the file that `write_task` has written.
        meeting: a file by which the processes find each other.
        rank: of this one.
        threads: of torch.

    Returns:
        Samples a second, of all devices together, or else None and why.
    """
    torch.set_num_threads(threads)
    # What is frozen stays in the file's pages, which all processes share.
    task: Task = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    config, devices = task.config, task.config.hardware.devices
    module = task.module
    module.rank, module.devices, module.draws = rank, devices, SharedDraws()
    on_gpus = task.device.torch.type == "cuda"
    if on_gpus:
        torch.cuda.set_device((task.device.torch.index or 0) + rank)
    elif sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)  # nothing leaves the machine
    dist.init_process_group(
        "nccl" if on_gpus else "gloo",
        store=dist.FileStore(str(meeting), devices),  # type: ignore[attr-defined]
        rank=rank,
        world_size=devices,
    )
    throughput = Throughput()
    callbacks: list[pl.Callback] = [Keeping(task.folder, config.early_stopping)]
    if rank == 0:
        module.report = _report
        callbacks = [_Steps(), _WholeClock(throughput), *callbacks]
    quieten()
    warnings.filterwarnings("ignore", ".*`broadcast_buffers` is deprecated.*")
    trainer = make_shared_trainer(
        task.device,
        rank,
        devices,
        unused=task.unused,
        max_epochs=config.epochs,
        gradient_clip_val=config.optimizer.clip_norm,
        accumulate_grad_batches=config.accumulate,
        callbacks=callbacks,
        default_root_dir=task.folder,
    )
    with interrupts(), module.draws.of_adapters(module.model):
        trainer.fit(
            module, SharedData(task.data, rank, devices), ckpt_path=task.last, weights_only=True
        )
    dist.destroy_process_group()
    if rank == 0:
        _told.put(("end",))
    return throughput.samples_per_second, throughput.why


def _report(epoch: int, metrics: Mapping[str, float]) -> None:
    """Tell an epoch's metrics, and wait until they are taken: a checkpoint comes after them."""
    _told.put(("epoch", epoch, dict(metrics)))
    _taken.get()


class _WholeClock(Clock):
    """A clock that counts whole batches, of which this process has its share."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the batch, and stop the clock after the epoch's last."""
        assert isinstance(batch, SharedBatch)
        whole = batch._replace(labels=batch.all_labels)
        super().on_train_batch_end(trainer, module, outputs, whole, batch_idx)


class _Steps(pl.Callback):
    """Tells how many steps have been taken."""

    def __init__(self) -> None:
        self._untold, self._since = 0, time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Say that the training has begun."""
        _told.put(("begin", int(trainer.estimated_stepping_batches), trainer.global_step))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count a step, and tell those that have not been told now and then."""
        self._untold += 1
        if time.monotonic() - self._since > _OFTEN_SECONDS:
            _told.put(("steps", self._untold))
            self._untold, self._since = 0, time.monotonic()
