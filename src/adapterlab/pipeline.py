"""One run: config -> data -> base model -> strategy -> LightningModule -> Trainer -> tracking."""

import logging
import time
from dataclasses import replace

from adapterlab.artifacts import artifacts, write_files
from adapterlab.assembly import Assembly, assemble
from adapterlab.building import check
from adapterlab.config import BASES, Config
from adapterlab.data.text import TextDataModule
from adapterlab.hardware import Device, PeakMemory, choose_device, fingerprint
from adapterlab.loading import RunData, load_data
from adapterlab.measurements import Measurements
from adapterlab.parsing import to_container
from adapterlab.predictions import Predictions, predict
from adapterlab.runs import RunFolder, RunResult, arm_hash, config_hash, run_name
from adapterlab.tracking import Tracker, flattened, git_commit, is_logged, tracked
from adapterlab.training.fit import Training, fit
from adapterlab.training.prefix import Prefix, use_frozen_prefix

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
    device = choose_device(config.hardware)
    folder = RunFolder.of(config)
    with folder.lock(wait=config.study == BASES):
        check(config)
        read = read or load_data(config)
        resumable = config.resume and folder.same_data(read.hash)
        if resumable and (finished := folder.finished()) is not None:
            return _logged(config, finished, folder)
        if config.resume and not resumable and folder.config.is_file():
            log.warning("%s was computed on other data; it starts anew", folder.path.name)
        assembly = assemble(config, train=run, read=read)
        tags = _tags(config, assembly, device) | {"data_hash": read.hash}
        run_id = folder.mlflow_run_id() if resumable else None
        with tracked(config, run_name(config), run_id) as tracker:
            resumed = folder.start(config, read.hash, keep=resumable)
            folder.remember_mlflow_run(tracker.run_id)
            _log_start(config, tags, tracker)
            measured = Measurements()
            training, test, prefix = _train_and_test(
                config, assembly, device, folder, tracker, measured, resumed=resumed
            )
            notes = assembly.notes
            if prefix.found:
                notes += ("an earlier run had computed the frozen prefix: seconds are without it",)
            late = {"frozen_prefix": _described(prefix), "data_notes": "; ".join(notes)}
            late = {key: value for key, value in late.items() if value}
            tracker.tags(late)
            tags |= late
            measured.add_source(config, assembly, device.torch)
            measured.add_parameters(assembly)
            measured.add_data(assembly)
            write_files(config, assembly, training, test, folder)
            measured.values["cost/adapter_bytes"] = float(folder.adapter.stat().st_size)
            result = RunResult(
                name=run_name(config),
                folder=folder.path,
                run_id=tracker.run_id,
                metrics=measured.values,
                missing=measured.missing,
                notes=notes,
                shape=assembly.inputs.shape or (),
                classes=assembly.data.classes,
                data_hash=read.hash,
                tags=tags,
                history=training.history,
            )
            folder.finish(result)
            _log_end(result, folder, tracker)
            folder.drop_checkpoints()
    return result


def _train_and_test(
    config: Config,
    assembly: Assembly,
    device: Device,
    folder: RunFolder,
    tracker: Tracker,
    measured: Measurements,
    *,
    resumed: bool,
) -> tuple[Training, Predictions, Prefix]:
    """Train, read the test split once, and take the costs of both."""
    with PeakMemory(device.accelerator) as memory:
        start = time.perf_counter()
        prefix = frozen_prefix(config, assembly, device)
        training = fit(
            config,
            assembly.adapted,
            assembly.data,
            num_classes=len(assembly.data.classes),
            title=run_name(config),
            device=device,
            folder=folder.checkpoints,
            report=lambda epoch, metrics: tracker.metrics(metrics, epoch),
        )
        test = predict(assembly.adapted, assembly.data, "test", device.torch)
        wall_seconds = time.perf_counter() - start
    measured.add("test", test.metrics())
    best = training.history[training.best_epoch]
    measured.add("best", {"epoch": training.best_epoch})
    for name in ("loss", "accuracy", "macro_f1"):
        measured.add("best", {f"val_{name}": best[f"val/{name}"]})
    for name, value, why in (
        ("train_seconds", training.seconds + prefix.seconds, ""),
        ("prefix_seconds", prefix.seconds, ""),
        ("wall_seconds", wall_seconds, ""),
        ("samples_per_second", training.samples_per_second, training.why),
        ("peak_memory_mib", memory.mib, memory.why or ""),
    ):
        if resumed:
            value, why = None, "the run was interrupted and resumed"
        measured.add_or_say(f"cost/{name}", value, why)
    return training, test, prefix


def frozen_prefix(config: Config, assembly: Assembly, device: Device) -> Prefix:
    """Compute what the frozen first layers make of the texts, where that is exact."""
    data, prefix = assembly.data, Prefix(0, "", seconds=0.0, gib=0.0, first_token_only=False)
    if not isinstance(data, TextDataModule):
        return replace(prefix, why="layers of an MLP are computed faster than they are read")
    if config.hardware.frozen_prefix == "never":
        prefix = replace(prefix, why="hardware.frozen_prefix=never")
    elif config.hardware.compile:
        prefix = replace(prefix, why="hardware.compile=true")
    else:
        prefix = use_frozen_prefix(
            assembly.adapted,
            data,
            cache=config.mlruns / "cache",
            max_gib=config.hardware.prefix_gib,
            epochs=config.epochs,
            device=device.torch,
            precision=device.precision,
        )
    log.info("%s: frozen prefix %s", run_name(config), _described(prefix))
    return prefix


def _described(prefix: Prefix) -> str:
    if not prefix.depth:
        return f"off: {prefix.why}"
    what = "of the first token" if prefix.first_token_only else "of all tokens"
    origin = "found" if prefix.found else "computed"
    return f"{prefix.depth} layers {what}, {prefix.gib:.2f} GiB, {origin} in {prefix.seconds:.1f} s"


def _tags(config: Config, assembly: Assembly, device: Device) -> dict[str, str]:
    """Return what runs are found and grouped by."""
    machine = fingerprint(device.accelerator)
    tags = {
        "strategy": config.adapter["name"],
        "model": config.model["name"],
        "dataset": config.dataset.name,
        "seed": str(config.seed),
        "study": config.study or "",
        "kind": "base" if config.study == BASES else "run",
        "arm": arm_hash(config),
        "config_hash": config_hash(config),
        "base": assembly.base.origin,
        "base_run_id": assembly.base.run_id or "",
        "base_head": "kept" if assembly.head_kept else "new",
        "base_sha256": assembly.adapted.base_hash,
        "pack_size": "1",
        "precision": device.precision,
        "memory_kind": PeakMemory(device.accelerator).kind,
        "data_notes": "; ".join(assembly.notes),
    }
    tags |= {f"hardware.{key}": value for key, value in machine.items()}
    commit = git_commit()
    if commit is not None:
        tags |= {"git_commit": commit, "mlflow.source.git.commit": commit.rstrip("+")}
    return {key: value for key, value in tags.items() if value}


def _logged(config: Config, result: RunResult, folder: RunFolder) -> RunResult:
    """Return a finished run's result, logged to MLflow if the store does not have it."""
    if is_logged(config, result.run_id):
        return result
    with tracked(config, result.name) as tracker:
        folder.remember_mlflow_run(tracker.run_id)
        _log_start(config, result.tags, tracker)
        for epoch, metrics in result.history.items():
            tracker.metrics(metrics, epoch)
        result = replace(result, run_id=tracker.run_id)
        folder.finish(result)
        _log_end(result, folder, tracker)
    return result


def _log_start(config: Config, tags: dict[str, str], tracker: Tracker) -> None:
    tracker.params(flattened(to_container(config)))
    tracker.tags(tags)


def _log_end(result: RunResult, folder: RunFolder, tracker: Tracker) -> None:
    """Log the final metrics and keep the files with the MLflow run."""
    tracker.metrics(result.metrics)
    tracker.tags({f"missing.{name}": why for name, why in result.missing.items()})
    for path, where in artifacts(folder):
        tracker.artifact(path, where)
