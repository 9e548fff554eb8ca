"""Training a run alone, and choosing its best epoch."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from adapterlab.adapters import AdaptedModel
from adapterlab.base.seeding import stream
from adapterlab.config.hardware import Hardware
from adapterlab.config.schema import Config
from adapterlab.config.tasks import main_metric
from adapterlab.data.batches import AnyBatches
from adapterlab.training.checkpoints import loaded, require_same, restoring, whole
from adapterlab.training.driver import why_lightning
from adapterlab.training.first_values import set_first_values
from adapterlab.training.hardware import Device
from adapterlab.training.losses import training_loss
from adapterlab.training.outcome import Report, Training, best_checkpoint, last_checkpoint
from adapterlab.training.progress import Progress
from adapterlab.training.recomputing import recomputing
from adapterlab.training.selection import watched
from adapterlab.training.steps import AfterEpoch, Steps
from adapterlab.training.throughput import Throughput

log = logging.getLogger(__name__)


class Drive(Protocol):
    """Trains, and saves the best and the last epoch's checkpoint after each epoch.

    Args:
        module: what is trained, of the class that is driven.
        data: its batches.
        config: epochs, accumulation, clipping, early stopping.
        device: where to compute.
        folder: for checkpoints.
        last: the checkpoint to go on from; None to begin.
        progress: is told of every step, and that the training has begun.
        throughput: measures the steps.
    """

    def __call__(
        self,
        module: Any,
        data: AnyBatches,
        config: Config,
        device: Device,
        *,
        folder: Path,
        last: Path | None,
        progress: Progress,
        throughput: Throughput,
    ) -> None:
        """Train from the start, or from a checkpoint on."""


def fit(
    config: Config,
    model: AdaptedModel,
    data: AnyBatches,
    *,
    num_classes: int,
    title: str,
    device: Device,
    folder: Path,
    report: Report,
    after_epoch: AfterEpoch | None = None,
) -> Training:
    """Train a model and leave it with the parameters of its best epoch on validation.

    Args:
        config: epochs, optimizer, selection, early stopping.
        model: trained in place.
        data: the target task.
        num_classes: its classes.
        title: for the progress bar.
        device: where to compute.
        folder: for checkpoints; if it has a last one, training goes on from there.
        report: called after every epoch, and first with those that are taken up from a checkpoint.
        after_epoch: called after every epoch that is saved; what it raises ends the training.

    Raises:
        CheckpointError: the checkpoint to go on from is damaged, or none of this model.
        TrainingDivergedError: the loss is no longer a number.
    """
    why = why_lightning(config.hardware, device.accelerator)
    log.debug("%s: trained by %s", title, f"Lightning, for {why}" if why else "our own loop")
    kind, drive = _driver(config.hardware, lightning=why is not None)
    progress = Progress(title, config.epochs, metric=main_metric(config.task))
    throughput = Throughput()

    def report_all(epoch: int, metrics: Mapping[str, float]) -> None:
        progress.report(epoch, metrics)
        report(epoch, metrics)

    module = kind(
        model,
        num_classes,
        config.optimizer,
        loss=training_loss(config, data.splits["train"].labels, data.classes),
        accumulate=config.accumulate,
        seed=stream(config.init_seed, "training"),
        select_on=config.select_on,
        watched=watched(config.select_on, data.classes),
        report=report_all,
        after_epoch=after_epoch,
        compile=config.hardware.compile,
        allow=config.allow_targets,
    )
    saved = whole(last_checkpoint(folder), module.saved_state())
    last = None if saved is None else last_checkpoint(folder)
    for epoch, metrics in sorted(saved["history"].items() if saved else ()):
        report(epoch, metrics)  # a process that was killed may not have told of them
    del saved  # as large as the model, and read again
    start = time.perf_counter()
    if last is None:
        set_first_values(config, model, data, device)
    again = recomputing(model, on=config.hardware.recompute)
    with again, restoring(last, lambda: progress.began):
        drive(
            module,
            data,
            config,
            device,
            folder=folder,
            last=last,
            progress=progress,
            throughput=throughput,
        )
    seconds = time.perf_counter() - start
    best_path = best_checkpoint(folder)
    best = loaded(best_path)
    require_same(best.get("state_dict"), module.saved_state(), best_path)
    module.load_state_dict(best["state_dict"], strict=False)
    return Training(
        history=module.training_state.history,
        best_epoch=best["epoch"] + 1,
        seconds=seconds,
        samples_per_second=throughput.samples_per_second,
        why=throughput.why,
    )


def _driver(options: Hardware, *, lightning: bool) -> tuple[type[Steps], Drive]:
    """Return what is driven and what drives it; nothing of the others is loaded."""
    if options.devices > 1:
        from adapterlab.training.devices.classifier import SharedClassifier
        from adapterlab.training.devices.drive import drive as shared_drive

        if options.strategy == "fsdp":
            from adapterlab.training.devices.sharded import ShardedClassifier

            return ShardedClassifier, shared_drive
        return SharedClassifier, shared_drive
    if lightning:
        from adapterlab.training.lightning.classifier import Classifier
        from adapterlab.training.lightning.drive import drive

        return Classifier, drive
    from adapterlab.training.plain.loop import drive as plain_drive

    return Steps, plain_drive
