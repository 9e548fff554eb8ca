"""A run that is under way: its folder, its MLflow run, and what it ends with."""

import logging
import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from adapterlab.base.errors import AdapterLabError, TrialPrunedError
from adapterlab.base.files import sha256, sweep
from adapterlab.base.full_disk import keep_room, said_where_full
from adapterlab.base.revision import source_tags, version_tags
from adapterlab.config.schema import BASES, Config
from adapterlab.drawing.pictures import NoPictures, Pictures
from adapterlab.runs.assembly import Assembly
from adapterlab.runs.folders.folder import ADAPTER_HASH, OUTCOME, RunFolder, RunResult
from adapterlab.runs.folders.integrity import artifacts, seal
from adapterlab.runs.folders.undelivered import Known, deliver_left, give_up, known_of
from adapterlab.runs.identity import arm_hash, config_hash, run_name
from adapterlab.runs.provenance import of_assembly, write_provenance
from adapterlab.runs.results.artifacts import write_files
from adapterlab.runs.results.feature_floor import begin_feature_floor
from adapterlab.runs.results.floor import Floor, begin_floor
from adapterlab.runs.results.measurements import Measurements, OfTheBase
from adapterlab.tracking.finished_runs import is_logged
from adapterlab.tracking.mlflow_run import pruned_as, tracked
from adapterlab.tracking.note_tags import NOTES, notes_tag
from adapterlab.tracking.trackers import Tracker
from adapterlab.tracking.tuning_tags import GRID, KEY, STUDY, TRIALS, tuned
from adapterlab.training.hardware import Device, PeakMemory, fingerprint
from adapterlab.training.outcome import Training
from adapterlab.training.predictions import Predictions
from adapterlab.training.prefix.frozen_prefix import Prefix

log = logging.getLogger(__name__)

Costs = Mapping[str, tuple[float | None, str]]
"""Figures under ``cost/`` by name; None where one was not measured, and why."""


@dataclass(frozen=True)
class OpenRun:
    """A run whose folder is held and whose MLflow run is open.

    Attributes:
        config: of the run.
        assembly: what it trains, on what.
        device: where it computes.
        folder: where its files go.
        tracker: of its MLflow run.
        tags: that it was given at the start.
        resumed: whether an earlier process has trained part of it.
        pictures: draws those of the run.
        known: what MLflow has of it already.
        floor: what a linear model reaches on the same rows.
    """

    config: Config
    assembly: Assembly
    device: Device
    folder: RunFolder
    tracker: Tracker
    tags: dict[str, str]
    resumed: bool
    pictures: Pictures
    known: Known
    floor: Floor

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch, unless MLflow has them: a process was killed after that."""
        if epoch not in self.known.epochs:
            self.tracker.log(metrics=metrics, step=epoch, last=epoch == self.config.epochs)

    def catch_up(self) -> None:
        """Have MLflow take the epochs that waited for more: none comes while others train on."""
        self.tracker.flush()

    def prune(self, error: TrialPrunedError) -> None:
        """Log that the run is stopped, and with what it had reached."""
        said = pruned_as(error)
        self.tracker.log(metrics=said["metrics"], tags=said["tags"])

    def finish(
        self, training: Training, test: Predictions, prefix: Prefix, costs: Costs
    ) -> RunResult:
        """Take all figures, write all files, and let the run count as finished.

        Args:
            training: what came of it; the model has its best epoch's parameters.
            test: on the test split.
            prefix: whether there was a frozen one.
            costs: of training and testing.
        """
        return self.conclude(self.take(training, test, prefix, costs))

    def take(
        self,
        training: Training,
        test: Predictions,
        prefix: Prefix,
        costs: Costs,
        base: OfTheBase | None = None,
    ) -> RunResult:
        """Take all figures and write all files; pictures may come later, until `conclude`.

        Args:
            training: what came of it; the model has its best epoch's parameters.
            test: on the test split.
            prefix: whether there was a frozen one.
            costs: of training and testing.
            base: what is known of it, if that has been found out before.
        """
        config, assembly, folder = self.config, self.assembly, self.folder
        measured = Measurements()
        measured.add_outcome(training, test)
        for name, (value, why) in costs.items():
            measured.add_or_say(f"cost/{name}", value, why)
        notes = assembly.notes
        if prefix.found:
            notes += ("an earlier run had computed the frozen prefix: seconds are without it",)
        late = {"frozen_prefix": prefix.described(), NOTES: notes_tag(notes)}
        if (outcome := assembly.adapted.strategy.outcome(assembly.adapted)) is not None:
            late[OUTCOME] = outcome
        late["baseline"] = self.floor.how
        base = base or OfTheBase.of(config, assembly, self.device.of_whole)
        measured.add_before(assembly, base)
        source = measured.add_source(config, assembly, self.device.of_whole, base)
        measured.add_parameters(config, assembly)
        measured.add_data(assembly)
        measured.add_floor(self.floor)
        write_files(config, assembly, training, test, source, folder, self.pictures)
        if config.ranks.asked is not None:
            from adapterlab.runs.auto_ranks import write_choice  # which few runs need

            # What these are drawn from is not kept.
            asked_later = config.figures == "report"
            pictures = Pictures() if asked_later else self.pictures
            write_choice(config, assembly, folder.choice, pictures)
        late[ADAPTER_HASH] = sha256(folder.adapter)
        measured.values["cost/adapter_bytes"] = float(folder.adapter.stat().st_size)
        return RunResult(
            name=run_name(config),
            folder=folder.path,
            run_id=self.tracker.run_id,
            metrics=measured.values,
            missing=measured.missing,
            notes=(*notes, *measured.notes),
            shape=assembly.inputs.shape or (),
            classes=assembly.data.classes,
            data_hash=assembly.read.hash,
            tags=self.tags | {key: value for key, value in late.items() if value},
            history=training.history,
        )

    def conclude(self, result: RunResult) -> RunResult:
        """Let the run count as finished, and log what came of it."""
        if self.config.mlflow_model and self.config.study != BASES:
            result = self._with_model(result)
        self.pictures.wait()
        seal(self.folder)
        self.folder.finish(result)
        log_end(result, self.folder, self.tracker, known=self.tags)
        self.folder.drop_checkpoints()
        return result

    def _with_model(self, result: RunResult) -> RunResult:
        """Keep the run's model as MLflow's; where that cannot be, the run says why and goes on."""
        from adapterlab.runs.export.mlflow_model import write_mlflow_model
        from adapterlab.runs.saved import Rebuilt

        try:
            write_mlflow_model(Rebuilt(self.config, result, self.assembly), self.folder.model)
        except AdapterLabError as error:
            log.warning("%s: %s", result.name, error)
            return replace(result, missing={**result.missing, "mlflow_model": str(error)})
        return result


@contextmanager
def open_run(
    config: Config,
    assembly: Assembly,
    device: Device,
    folder: RunFolder,
    *,
    keep: bool,
    pack_size: int = 1,
    pictures: Pictures | None = None,
) -> Iterator[OpenRun]:
    """Open the MLflow run of a folder that is locked, and write down what it is going to compute.

    It ends as FAILED or KILLED if an exception ends it.

    Args:
        config: of the run.
        assembly: of the run.
        device: where it computes.
        folder: of the run.
        keep: go on from what an earlier process left.
        pack_size: lanes of the pack that it trains in.
        pictures: draws those of the run, if it is to have any; None for this process.
    """
    provenance = of_assembly(config, assembly)
    tags = _tags(config, assembly, device) | provenance.tags() | {"pack_size": str(pack_size)}
    run_id = folder.link.run_id() if keep else None
    if not keep:
        give_up(config, folder, tags)
    if config.tracking.enabled:
        keep_room(config.mlruns)
    store = config.mlruns / "mlflow.db"
    with (
        said_where_full(otherwise=store),
        tracked(
            config,
            folder.link,
            run_id,
            name=run_name(config),
            tags=tags,
            resume=config.resume,
            data=(tags["dataset"], tags["data_hash"]),
        ) as tracker,  # fmt: skip
        said_where_full(otherwise=store),  # once more, for the run's tag
    ):
        # The run of this folder; or another, if it was deleted or one was found whose id was lost.
        goes_on = keep or config.resume
        known = known_of(config, folder, tracker.run_id) if goes_on else Known()
        sweep(folder.path)
        resumed = folder.start(config, assembly.read.hash, keep=keep)
        write_provenance(folder, provenance)
        drawn = pictures or Pictures() if config.figures == "always" else NoPictures()
        if config.baseline == "features":
            floor = begin_feature_floor(config, assembly, device, tags["test_hash"])
        else:
            floor = begin_floor(config, assembly.read, tags["test_hash"])
        yield OpenRun(config, assembly, device, folder, tracker, tags, resumed, drawn, known, floor)


def log_again(config: Config, result: RunResult, folder: RunFolder) -> RunResult:
    """Return a finished run's result, logged to MLflow if the store does not have it.

    A process may have been killed, or a server gone, between the result and the end of logging:
    what MLflow has is not logged twice, and what only a training goes on from is removed.
    """
    folder.drop_checkpoints()
    deliver_left(config, folder)
    if is_logged(config, result.run_id):
        return result
    known = known_of(config, folder, result.run_id)
    with tracked(config, folder.link, result.run_id, name=result.name, tags=result.tags) as tracker:
        if tracker.run_id != result.run_id:
            known = Known()
        tracker.data(result.tags["dataset"], result.tags["data_hash"])
        for epoch, metrics in result.history.items():
            if epoch not in known.epochs:
                tracker.log(metrics=metrics, step=epoch)
        result = replace(result, run_id=tracker.run_id)
        folder.finish(result)
        log_end(result, folder, tracker, known=result.tags, metrics=known.metrics)
    return result


def _tags(config: Config, assembly: Assembly, device: Device) -> dict[str, str]:
    """Return what runs are found and grouped by."""
    machine = fingerprint(device.accelerator, config.hardware.devices)
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
        "precision": device.precision,
        "memory_kind": PeakMemory(device.accelerator).kind,
        NOTES: notes_tag(assembly.notes),
        "test_hash": assembly.read.test_hash(assembly.examples),
    }
    if config.told is not None and config.study != BASES:
        tags |= {
            "options": shlex.join(config.told.options),
            "arm_options": shlex.join(config.told.naming) or "none",
        }
    if config.budget is not None:
        tags["budget"] = str(config.budget)
    if config.tuning is not None:
        how = config.tuning
        tags |= {tuned(STUDY): how.study, tuned(TRIALS): str(how.trials)}
        tags |= {tuned(KEY): how.key or "", tuned(GRID): how.grid or ""}
        tags |= {tuned(option): str(value) for option, value in how.chosen.items()}
    tags |= {f"hardware.{key}": value for key, value in machine.items()}
    tags |= source_tags() | version_tags()
    return {key: value for key, value in tags.items() if value}


def log_end(
    result: RunResult,
    folder: RunFolder,
    tracker: Tracker,
    *,
    known: Mapping[str, str],
    metrics: Collection[str] = (),
) -> None:
    """Log what tags and final metrics are not known yet; keep the files with the MLflow run.

    Args:
        result: of the run.
        folder: of the run.
        tracker: of its MLflow run.
        known: tags that it has.
        metrics: names of those that it has.
    """
    late = {name: value for name, value in result.tags.items() if known.get(name) != value}
    missing = {f"missing.{name}": why for name, why in result.missing.items()}
    final = {name: value for name, value in result.metrics.items() if name not in metrics}
    tracker.log(metrics=final, tags=late | missing)
    for path, where in artifacts(folder):
        tracker.artifact(path, where)
