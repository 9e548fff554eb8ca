"""Driving a training by Lightning's Trainer."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapterlab.config.schema import Config
from adapterlab.data.batches import AnyBatches
from adapterlab.training.hardware import Device
from adapterlab.training.lightning.callbacks import Bar, Clock, Keeping
from adapterlab.training.lightning.checkpoint_io import WholeCheckpoints
from adapterlab.training.lightning.classifier import Classifier
from adapterlab.training.lightning.data import LightningData
from adapterlab.training.lightning.imported import LightningEnvironment, pl
from adapterlab.training.progress import Progress
from adapterlab.training.throughput import Throughput


def drive(
    module: Classifier,
    data: AnyBatches,
    config: Config,
    device: Device,
    *,
    folder: Path,
    last: Path | None,
    progress: Progress,
    throughput: Throughput,
) -> None:
    """Train by Lightning's Trainer; see `training.fit.Drive`."""
    quieten()
    trainer = make_trainer(
        device,
        max_epochs=config.epochs,
        gradient_clip_val=config.optimizer.clip_norm,
        accumulate_grad_batches=config.accumulate,
        callbacks=[Bar(progress), Clock(throughput), Keeping(folder, config.early_stopping)],
        default_root_dir=folder,
    )
    with interrupts():
        trainer.fit(module, LightningData(data), ckpt_path=last, weights_only=True)


def make_trainer(
    device: Device,
    *,
    environment: LightningEnvironment | None = None,
    devices: list[int] | int | None = None,
    **options: Any,
) -> pl.Trainer:
    """Return a Trainer that logs and prints nothing by itself.

    Args:
        device: where it computes.
        environment: says which of several processes this is; None for one process.
        devices: of all of them; None for one.
        **options: the Trainer's own.
    """
    if devices is None:
        devices = [device.torch.index] if device.torch.type == "cuda" else 1
    # Else Lightning takes Slurm's, and refuses a job of several tasks.
    plugins: list[Any] = [WholeCheckpoints(), environment or LightningEnvironment()]
    precision: Any = device.precision
    if device.in_parts and precision == "64-true":  # which Lightning refuses by its name
        plugins.append(pl.plugins.DoublePrecision())
        precision = None
    return pl.Trainer(
        accelerator=device.accelerator,
        plugins=plugins,
        devices=devices,
        precision=precision,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **options,
    )


@contextmanager
def interrupts() -> Iterator[None]:
    """Let Ctrl-C through: Lightning turns it into exit code 1, and ignores it from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise


def quieten() -> None:
    """Keep Lightning to what a user of this program can act on."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*is smaller than the logging interval.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*callbacks used to create the checkpoint.*",  # of before, which kept less by itself
        ".*in eval mode at the start of training.*",  # frozen dropout is off by intent
        "The `srun` command is available.*",  # it looks for what Slurm's jobs left
    ):
        warnings.filterwarnings("ignore", message)
