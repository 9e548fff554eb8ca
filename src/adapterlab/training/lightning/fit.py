"""Training an adapted model with Lightning's Trainer, and choosing its best epoch."""

import logging
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapterlab.adapters import AdaptedModel
from adapterlab.base.seeding import stream
from adapterlab.config.schema import Config
from adapterlab.config.tasks import main_metric
from adapterlab.data.batches import AnyBatches
from adapterlab.training.checkpoints import loaded, require_same, restoring, whole
from adapterlab.training.first_values import set_first_values
from adapterlab.training.hardware import Device
from adapterlab.training.lightning.callbacks import Clock, Keeping, Progress
from adapterlab.training.lightning.checkpoint_io import WholeCheckpoints
from adapterlab.training.lightning.classifier import Classifier
from adapterlab.training.lightning.data import LightningData
from adapterlab.training.lightning.imported import LightningEnvironment, pl
from adapterlab.training.lightning.recomputing import recomputing
from adapterlab.training.losses import training_loss
from adapterlab.training.outcome import Report, Training, best_checkpoint, last_checkpoint
from adapterlab.training.selection import watched
from adapterlab.training.throughput import Throughput


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
        report: called after every epoch.

    Raises:
        CheckpointError: the checkpoint to go on from is damaged, or none of this model.
        TrainingDivergedError: the loss is no longer a number.
    """
    quieten()
    progress = Progress(title, config.epochs, metric=main_metric(config.task))
    throughput = Throughput()

    def report_all(epoch: int, metrics: Mapping[str, float]) -> None:
        progress.report(epoch, metrics)
        report(epoch, metrics)

    module = Classifier(
        model,
        num_classes,
        config.optimizer,
        loss=training_loss(config, data.splits["train"].labels, data.classes),
        accumulate=config.accumulate,
        seed=stream(config.init_seed, "training"),
        select_on=config.select_on,
        watched=watched(config.select_on, data.classes),
        report=report_all,
        compile=config.hardware.compile,
        allow=config.allow_targets,
    )
    trainer = make_trainer(
        device,
        max_epochs=config.epochs,
        gradient_clip_val=config.optimizer.clip_norm,
        accumulate_grad_batches=config.accumulate,
        callbacks=[progress, Clock(throughput), Keeping(folder, config.early_stopping)],
        default_root_dir=folder,
    )
    last = whole(last_checkpoint(folder), module.saved_state())
    start = time.perf_counter()
    if last is None:
        set_first_values(config, model, data, device)
    again = recomputing(model, on=config.hardware.recompute)
    with interrupts(), again, restoring(last, lambda: progress.began):
        trainer.fit(module, LightningData(data), ckpt_path=last, weights_only=True)
    seconds = time.perf_counter() - start
    best_path = best_checkpoint(folder)
    best = loaded(best_path)
    require_same(best.get("state_dict"), module.saved_state(), best_path)
    module.load_state_dict(best["state_dict"], strict=False)
    return Training(
        history=module.standing.history,
        best_epoch=best["epoch"] + 1,
        seconds=seconds,
        samples_per_second=throughput.samples_per_second,
        why=throughput.why,
    )


def make_trainer(device: Device, **options: Any) -> pl.Trainer:
    """Return a Trainer on one device that logs and prints nothing by itself.

    Args:
        device: where it computes.
        **options: the Trainer's own.
    """
    return pl.Trainer(
        accelerator=device.accelerator,
        # Lightning would look for an environment, and warn of Slurm where `srun` is on PATH.
        plugins=[WholeCheckpoints(), LightningEnvironment()],
        devices=[device.torch.index] if device.torch.type == "cuda" else 1,
        precision=device.precision,  # type: ignore[arg-type]
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
    ):
        warnings.filterwarnings("ignore", message)
