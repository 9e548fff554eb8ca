"""One run: config -> data -> base model -> strategy -> LightningModule -> driver -> tracking."""

import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any

from adapterlab.base.errors import TrialPrunedError
from adapterlab.config.multirun import current_multirun
from adapterlab.config.schema import BASES, Config
from adapterlab.data.images import ImageBatches
from adapterlab.data.text import TextBatches
from adapterlab.models.protocol import adaptable
from adapterlab.runs.assembly import Assembly, assemble
from adapterlab.runs.check import check
from adapterlab.runs.data import RunData, load_data
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.folders.homes import home_of
from adapterlab.runs.identity import run_name
from adapterlab.runs.lifecycle import Costs, OpenRun, open_run
from adapterlab.runs.plan_warnings import quicker_precision
from adapterlab.runs.state import goes_on, taken_up
from adapterlab.runs.trial_pruner import TrialJudge
from adapterlab.tracking.mlflow_run import mark_pruned
from adapterlab.training.fit import fit
from adapterlab.training.hardware import Device, PeakMemory, choose_device
from adapterlab.training.outcome import Training
from adapterlab.training.packed.fit import fit_pack
from adapterlab.training.packed.lane import LaneTask, load_lane
from adapterlab.training.predicting import predict
from adapterlab.training.predictions import Predictions
from adapterlab.training.prefix.frozen_prefix import Prefix, use_frozen_prefix
from adapterlab.training.prefix.of_images import use_image_prefix
from adapterlab.training.task_predictions import settled

log = logging.getLogger(__name__)


def run(config: Config, read: RunData | None = None) -> RunResult:
    """Carry out one run, or return the result of one that has finished, when resuming.

    Everything it writes lands in its folder under mlruns/ and, unless tracking is off, in MLflow.

    Args:
        config: of the run.
        read: the run's data, if it has been read before.

    Raises:
        AdapterLabError: the configuration or the data are wrong; nothing has been trained.
        TrainingDivergedError: the loss is no longer a number.
    """
    device = choose_device(config.hardware, training=True)
    check(config)
    read = read or load_data(config)
    folder = home_of(config, read.hash)
    judge = TrialJudge(read.hash)
    # What another command of a study is at, a multirun waits for: it is not to be trained twice.
    wait = config.study == BASES or current_multirun() is not None
    with folder.lock(wait=wait) as waited:
        keep, finished = taken_up(config, folder, read, waited=waited)
        if finished is not None:
            if not config.resume:
                log.info("%s: another command has carried it out meanwhile", finished.name)
            return finished
        if (pruned := judge.before(config)) is not None:
            mark_pruned(config, folder.link.run_id(), pruned)
            raise pruned
        if (quicker := quicker_precision(config)) is not None:
            log.info(quicker)
        assembly = assemble(config, train=run, read=read)
        keep = keep and goes_on(config, folder, assembly)
        with open_run(config, assembly, device, folder, keep=keep) as opened:
            try:
                training, test, prefix, costs = _train_and_test(opened, judge)
            except TrialPrunedError as error:
                opened.prune(error)
                raise
            except Exception:
                judge.fail(config)
                raise
            return opened.finish(training, test, prefix, costs)


def _train_and_test(run: OpenRun, judge: TrialJudge) -> tuple[Training, Predictions, Prefix, Costs]:
    """Train, read the test split once, and take the costs of both."""
    assembly, device = run.assembly, run.device
    with PeakMemory(device.accelerator) as memory:
        start = time.perf_counter()
        prefix = frozen_prefix(run.config, assembly, device)
        training = _train(run, judge)
        answer = partial(predict, assembly.adapted, assembly.data, device=device.of_whole)
        test = settled(answer("test"), run.config.select_on, lambda: answer("validation"))
        wall_seconds = time.perf_counter() - start
    costs: Costs = {
        "train_seconds": (training.seconds + prefix.seconds, ""),
        "prefix_seconds": (prefix.seconds, ""),
        "wall_seconds": (wall_seconds, ""),
        "samples_per_second": (training.samples_per_second, training.why),
        "peak_memory_mib": (memory.mib, memory.why or ""),
    }
    if (devices := run.config.hardware.devices) > 1:
        why = f"hardware.devices={devices}: it is that of several processes"
        costs = {**costs, "peak_memory_mib": (None, why)}
    if run.resumed:
        costs = dict.fromkeys(costs, (None, "the run was interrupted and resumed"))
    return training, test, prefix, costs


def _train(run: OpenRun, judge: TrialJudge) -> Training:
    """Train alone, or go on alone with what began in a pack."""
    config, assembly = run.config, run.assembly
    classes = len(assembly.data.classes)
    saved = load_lane(run.folder.checkpoints, assembly.adapted.state())
    if saved is None:
        return fit(
            config,
            assembly.adapted,
            assembly.data,
            num_classes=classes,
            title=run_name(config),
            device=run.device,
            folder=run.folder.checkpoints,
            report=run.report,
            after_epoch=partial(judge.after_epoch, config),
        )
    if config.hardware.devices > 1:
        log.warning("%s began in a pack, so it goes on on one device", run_name(config))
    task = LaneTask(config, assembly.adapted, run.folder.checkpoints, run.report)
    pack = fit_pack(
        [task],
        assembly.data,
        saved=[saved],
        num_classes=classes,
        device=run.device,
        judge=judge,
    )
    return pack.training(0)


def frozen_prefix(config: Config, assembly: Assembly, device: Device) -> Prefix:
    """Compute what the frozen first layers make of texts or images, where that is exact."""
    data, prefix = assembly.data, Prefix(0, "", seconds=0.0, gib=0.0, first_token_only=False)
    hidden_states = adaptable(assembly.adapted.model).hidden_states
    if isinstance(data, ImageBatches) and hidden_states is None:
        return replace(prefix, why=f"model={config.model['name']} gives no hidden states")
    if config.hardware.frozen_prefix == "never":
        prefix = replace(prefix, why="hardware.frozen_prefix=never")
    elif config.hardware.compile:
        prefix = replace(prefix, why="hardware.compile=true")
    elif config.hardware.devices > 1:
        prefix = replace(prefix, why=f"hardware.devices={config.hardware.devices}")
    else:
        options: Any = {
            "cache": config.mlruns / "cache",
            "max_gib": config.hardware.prefix_gib,
            "epochs": config.epochs,
            "device": device.torch,
            "precision": device.precision,
        }
        if isinstance(data, ImageBatches):
            prefix = use_image_prefix(assembly.adapted, data, **options)
        elif isinstance(data, TextBatches):
            prefix = use_frozen_prefix(assembly.adapted, data, **options)
    log.info("%s: frozen prefix %s", run_name(config), prefix.described())
    return prefix
