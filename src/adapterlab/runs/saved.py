"""Finding a saved run in its folder or in MLflow, and rebuilding the model that it trained."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic.dataclasses import dataclass as checked_dataclass

from adapterlab.adapters import load_adapter, read_extra, read_metadata
from adapterlab.base.errors import AdapterLabError, CheckpointError
from adapterlab.config.class_names import listed
from adapterlab.config.hardware import Hardware
from adapterlab.config.parsing import absolute
from adapterlab.config.schema import Config, Namespace
from adapterlab.config.validation import STRICT
from adapterlab.data.targets import Scale
from adapterlab.runs.assembly import Assembly, assemble
from adapterlab.runs.base_weights import Train, base_run
from adapterlab.runs.check import check
from adapterlab.runs.data import RunData
from adapterlab.runs.folders.fetched import download, move
from adapterlab.runs.folders.folder import RunFolder, RunResult, read_config
from adapterlab.runs.folders.homes import home_of, homes
from adapterlab.runs.folders.integrity import require_adapter
from adapterlab.runs.identity import config_hash
from adapterlab.runs.kept_beside import IMAGES, scale_of
from adapterlab.runs.single import run
from adapterlab.tracking.client import connect_to_read


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class SavedRun:
    """Which run is meant, where it is looked for, and where its model computes.

    Attributes:
        run: MLflow run id, or run folder.
        tracking_uri: where an id is looked up; None is the store under `root`/mlruns.
        root: the folder that mlruns/ lies in.
        data_dir: folder with local copies of data sets.
        hardware: precision is the run's own, whatever is given here.
        allow_targets: whose code the run may name; what the run says of that does not count.
    """

    run: str
    tracking_uri: str | None
    root: str
    data_dir: str | None
    hardware: Hardware
    allow_targets: list[Namespace] = field(default_factory=list)


@dataclass(frozen=True)
class Rebuilt:
    """A saved run as it was when its training had ended.

    Attributes:
        config: of the run; where it computes, and where files are, is the request's.
        result: what it logged. Its folder is gone if the run came from MLflow.
        assembly: data, base and the adapted model with what was trained.
    """

    config: Config
    result: RunResult
    assembly: Assembly


def rebuild(saved: SavedRun, require: Callable[[Config], None] = lambda config: None) -> Rebuilt:
    """Rebuild a saved run's adapted model, on the CPU.

    The base is taken from its own run, in its folder or in MLflow, or else trained again by the
    same configuration; the adapter refuses to load onto weights other than its own.

    Args:
        saved: which run.
        require: refuses, by an exception, configurations that are of no use to the caller.

    Raises:
        AdapterLabError: there is no such finished run, its data or weights are missing, or what
            MLflow has of it or of its base is not what they had logged.
    """
    with _found(saved) as (folder, result):
        config = _here(read_config(folder.config), saved)
        check(config)  # before a base is fetched or trained for it
        require(config)
        with _offered_base(config, result, saved) as offered:
            train = run if offered is None else offered.instead_of(run)
            scale = scale_of(folder.adapter)
            assembly = assemble(config, train=train, trained=True, scale=scale)
            _require_same_outputs(saved, config, result, assembly, scale)
            _require_same_images(saved, assembly, read_extra(folder.adapter).get(IMAGES))
            if offered is not None and offered.taken:
                offered.require(read_metadata(folder.adapter)["base_sha256"], assembly)
            load_adapter(assembly.adapted, folder.adapter)
            if offered is not None and offered.taken:
                offered.keep()
        vocabulary = read_extra(folder.adapter).get("vocabulary")
        if vocabulary not in (None, assembly.inputs.vocabulary):
            raise CheckpointError(
                f"run={saved.run} was trained with another vocabulary: the texts that it was made "
                "of, or the model's tokenizer, have changed"
            )
    if result.data_hash != assembly.read.hash:
        changed = "the data have changed since this run was trained"
        assembly = replace(assembly, notes=(*assembly.notes, changed))
    return Rebuilt(config, result, assembly)


def _require_same_outputs(
    saved: SavedRun, config: Config, result: RunResult, assembly: Assembly, scale: Scale | None
) -> None:
    """Refuse data of which a run's outputs would be taken for something else than it has learnt.

    Raises:
        CheckpointError: classes are called otherwise now, or nothing says in which scale numbers
            were learnt.
    """
    now = assembly.data.classes
    if result.classes and result.classes != now:
        raise CheckpointError(
            f"run={saved.run} has learnt {listed(result.classes)}, and its data have "
            f"{listed(now)} now, so that its answers would be called something else"
        )
    unknown = config.task == "regression" and config.loss.standardize and scale is None
    if unknown and result.data_hash != assembly.read.hash:
        raise CheckpointError(
            f"run={saved.run} has not kept the scale in which it learnt numbers, which was that of "
            "its training rows, and the data have changed since"
        )


def _require_same_images(saved: SavedRun, assembly: Assembly, then: object) -> None:
    """Refuse images of another size, or colours, than those that a run has learnt.

    Raises:
        CheckpointError: what the files have now decides otherwise how images are decoded.
    """
    now = None if assembly.read.shape is None else list(assembly.read.shape)
    if then is not None and then != now:
        raise CheckpointError(
            f"run={saved.run} has learnt images of {then}, and its data have images of {now} now "
            "(channels, height, width), as which others would be shown to it"
        )


def _here(config: Config, saved: SavedRun) -> Config:
    """Take from the run what it computes, and from the request where that happens.

    What a run says of stores and folders is its author's: nothing is written or looked for there.
    """
    hardware = replace(
        saved.hardware,
        precision=config.hardware.precision,
        threads=saved.hardware.threads or config.hardware.threads,
    )
    tracking = replace(config.tracking, uri=saved.tracking_uri, artifacts=None)
    return replace(
        config,
        hardware=hardware,
        tracking=tracking,
        root=absolute(saved.root),
        data_dir=saved.data_dir and absolute(saved.data_dir),
        allow_targets=saved.allow_targets,
    )


@contextmanager
def _found(saved: SavedRun) -> Iterator[tuple[RunFolder, RunResult]]:
    """Find a run's files and result, in its folder or in MLflow."""
    path = Path(saved.run).expanduser()
    if path.is_dir():
        folder = RunFolder(path.resolve())
        result = folder.finished()
        if result is None:
            raise AdapterLabError(f"run={saved.run}: no finished run in this folder")
        size = result.metrics.get("cost/adapter_bytes")
        # Before it is hashed: a file of a terabyte takes no room, and hours.
        if folder.adapter.is_file() and size not in (None, folder.adapter.stat().st_size):
            raise CheckpointError(f"{folder.adapter} is not of the size that the run wrote")
        require_adapter(folder)
        yield folder, result
        return
    with tempfile.TemporaryDirectory(prefix="adapterlab-") as scratch:
        folder = RunFolder(Path(scratch))
        _download(saved, saved.run, folder)
        result = folder.finished()
        assert result is not None
        yield folder, result


def _download(saved: SavedRun, run_id: str, folder: RunFolder) -> None:
    mlruns = Path(absolute(saved.root)) / "mlruns"
    asked = f"run={run_id} is neither a run folder nor a finished MLflow run"
    download(connect_to_read(saved.tracking_uri, mlruns, asked), run_id, folder)


@dataclass
class _OfferedBase:
    """A base's run as MLflow has it, in a folder of its own until it is known to be the base.

    Attributes:
        folder: where it is.
        result: of it.
        base: its configuration.
        run_id: its MLflow run.
        taken: whether it has been used.
    """

    folder: RunFolder
    result: RunResult
    base: Config
    run_id: str
    taken: bool = False

    def instead_of(self, train: Train) -> Train:
        """Return what hands the base out where it was trained on the present data."""

        def take_or_train(config: Config, data: RunData) -> RunResult:
            if self.result.data_hash != data.hash:
                return train(config, data)
            self.taken = True
            return self.result

        return take_or_train

    def require(self, base_hash: str, assembly: Assembly) -> None:
        """Refuse weights that are not those that a run was trained over.

        Raises:
            CheckpointError: they are not.
        """
        if assembly.adapted.base_hash != base_hash:
            raise CheckpointError(
                f"the MLflow run {self.run_id} is not the base that this run was trained over: its "
                f"weights have the hash {assembly.adapted.base_hash[:12]}, not {base_hash[:12]}; "
                "delete it there to have the base trained again"
            )

    def keep(self) -> None:
        """Put it where all runs find it."""
        home = home_of(self.base, self.result.data_hash)
        with home.lock(wait=True):
            if home.finished() is None:
                move(self.folder, home, self.run_id)


@contextmanager
def _offered_base(
    config: Config, result: RunResult, saved: SavedRun
) -> Iterator[_OfferedBase | None]:
    """Bring the base from MLflow, if its own folder is gone: training it again is the last resort.

    On other hardware that would not give the same weights.
    """
    base, base_id = base_run(config), result.tags.get("base_run_id")
    there = base is not None and any(home.finished() is not None for home in homes(base))
    if base is None or base_id is None or there:
        yield None
        return
    home = RunFolder.of(base)
    home.path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that what has been checked gets there by being renamed.
    with tempfile.TemporaryDirectory(dir=home.path.parent, prefix=".offered-") as scratch:
        yield _offer(RunFolder(Path(scratch)), base, base_id, saved)


def _offer(found: RunFolder, base: Config, base_id: str, saved: SavedRun) -> _OfferedBase | None:
    """Return the base's run if MLflow has it; None if it has none of this configuration."""
    try:
        _download(saved, base_id, found)
    except CheckpointError:
        raise
    except AdapterLabError:
        return None
    result = found.finished()
    if result is None or config_hash(read_config(found.config)) != config_hash(base):
        return None
    return _OfferedBase(found, result, base, base_id)
