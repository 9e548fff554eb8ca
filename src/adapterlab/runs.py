"""What a run is called and where it lives: its hashes, its folder, its lock and its result."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from adapterlab import journal
from adapterlab.config import CheckpointBase, Config, TrainedBase
from adapterlab.equal_options import one_way
from adapterlab.errors import AdapterLabError, CheckpointError, ConfigError
from adapterlab.files import sha256, write_json, write_text
from adapterlab.parsing import from_container, same_files, to_container, with_folders
from adapterlab.reading import UnreadableError, parse_mapping, parse_yaml, read_text
from adapterlab.redaction import public
from adapterlab.validation import describe

log = logging.getLogger(__name__)

BOOKKEEPING = (
    *("resume", "plan", "pack", "root", "data_dir", "tracking", "study"),
    *("budget", "tuning", "report", "margin", "told", "allow_targets"),
)
"""Options that say where and how a run is kept, or where other options come from."""

DATA_HASH, MLFLOW_RUN = "data_hash", "mlflow_run_id"
"""The file in a run's folder that names its MLflow run; empty while that is made."""

KEPT = (DATA_HASH, MLFLOW_RUN, journal.NAME)
"""What a run that starts anew leaves in its folder: its own already."""

MODEL_FILES = (".json", ".txt", ".model", ".safetensors", ".bin")
"""Suffixes of what `save_pretrained` writes into a folder: configuration, tokenizer, weights."""

OFF: dict[str, Any] = {"also_train": []}
"""Options of strategies that came later, and the value without which older runs keep their hash."""

SEEDS = ("seed", "init_seed", "order_seed")

ADAPTER_HASH = "adapter_sha256"
"""The tag with the SHA-256 of adapter.safetensors: a store's database knows what its files were."""

USUAL_CUT = 0
"""The `validation_seed` of all data sets in conf/: arms of runs with that cut keep their hash."""


def config_hash(config: Config) -> str:
    """Return 12 hex digits for what a run computes; equal ones give equal hashes anywhere."""
    return _digest(what_it_computes(config))


def former_hash(config: Config) -> str:
    """Return the hash that earlier versions gave a run, which looked at how options are written."""
    return _digest(_as_written(config))


def arm_hash(config: Config) -> str:
    """Return 12 hex digits for a run's arm: everything but its seeds.

    The seed of the validation cut is one of them, also where the base's training follows it.
    """
    values = what_it_computes(config)
    base = values["base"].get("dataset")
    if base is not None and same_files(base["loader"], values["dataset"]["loader"]):
        base["validation_seed"] = USUAL_CUT
    values["dataset"]["validation_seed"] = USUAL_CUT
    return _digest({key: value for key, value in values.items() if key not in SEEDS})


def what_it_computes(config: Config) -> dict[str, Any]:
    """Return the options that a result depends on, in one way where there are several.

    Of the hardware that is the precision, as it comes out on this machine; a base from a file, or
    a model from a folder, is its content, not its path.
    """
    values = _as_written(config)
    one_way(values, config)
    return values


def _as_written(config: Config) -> dict[str, Any]:
    values = to_container(config)
    for key in BOOKKEEPING:
        del values[key]
    for node in (values["adapter"], values["model"]):
        node.pop("label", None)
    values["adapter"] = {k: v for k, v in values["adapter"].items() if OFF.get(k, ...) != v}
    values["model"] = with_folders(values["model"], _folder_hashes)
    values["hardware"] = {"precision": _precision(config)}
    datasets = [values["dataset"]]
    if isinstance(config.base, TrainedBase):
        datasets.append(values["base"]["dataset"])
        del values["base"]["source"]
    for dataset in datasets:  # these name the base, which stands in full in `base`
        for key in ("source", "source_epochs"):
            dataset.pop(key, None)
    if isinstance(config.base, CheckpointBase):
        values["base"]["path"] = file_hash(Path(config.base.path))
    return values


def run_name(config: Config) -> str:
    """Return a name for people: ``digits_rotated-mlp-lora-r8-a16-seed0``."""
    labels = [str(node.get("label", node["name"])) for node in (config.model, config.adapter)]
    return "-".join([config.dataset.name, *labels, f"seed{config.seed}"])


@dataclass(frozen=True)
class RunResult:
    """What a finished run measured.

    Attributes:
        name: the run's name.
        folder: where its files are.
        run_id: its MLflow run, None when it was not tracked.
        metrics: final metrics by name, such as ``test/accuracy``.
        missing: metrics that were not measured, and why.
        notes: what a reader of the figures should know about the data.
        shape: the model's input shape; empty for texts.
        classes: class names, in label order.
        data_hash: of the data that it read.
        tags: what it is found and grouped by.
        history: metrics by epoch.
    """

    name: str
    folder: Path
    run_id: str | None
    metrics: dict[str, float]
    missing: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    data_hash: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    history: dict[int, dict[str, float]] = field(default_factory=dict)


_RESULT = TypeAdapter(RunResult)


@dataclass(frozen=True)
class RunFolder:
    """A run's folder. It is named by what the run computes, so the same run finds it again."""

    path: Path

    @classmethod
    def of(cls, config: Config) -> "RunFolder":
        """Return the folder of a config's run, which need not exist yet.

        Where runs of one configuration read different data, it is that of the first; see `homes`.
        """
        study = config.study or "single"
        return cls(config.mlruns / "runs" / study / f"{run_name(config)}-{config_hash(config)}")

    @property
    def adapter(self) -> Path:
        """The trained parameters."""
        return self.path / "adapter.safetensors"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints while it trains, the last for resuming and the best for testing."""
        return self.path / "checkpoints"

    @property
    def predictions(self) -> Path:
        """Per-example test predictions."""
        return self.path / "predictions.parquet"

    @property
    def source_predictions(self) -> Path:
        """Per-example predictions on the source task's test split; only where there is one."""
        return self.path / "source_predictions.parquet"

    @property
    def result(self) -> Path:
        """The final metrics; there when the run has finished."""
        return self.path / "result.json"

    @property
    def peft(self) -> Path:
        """The adapter once more, as PEFT reads it; only where PEFT knows the strategy."""
        return self.path / "peft"

    @property
    def mistakes(self) -> Path:
        """What the model gets wrong on the test split."""
        return self.path / "mistakes"

    @property
    def figures(self) -> Path:
        """Pictures."""
        return self.path / "figures"

    @contextmanager
    def lock(self, *, wait: bool) -> Iterator[None]:
        """Hold the folder; the lock goes with the process, however that ends.

        Args:
            wait: wait for another process that holds it, instead of refusing.

        Raises:
            AdapterLabError: another process holds it and `wait` is False.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise AdapterLabError(
                    f"another process is training this very run in {self.path}"
                ) from None
            log.info("waiting for %s, which another process is training", self.path.name)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def same_data(self, data_hash: str) -> bool:
        """Say whether what is in the folder was computed on the data of this hash."""
        path = self.path / DATA_HASH
        with suppress(CheckpointError):
            if (finished := self.finished()) is not None:
                return finished.data_hash == data_hash
        return path.is_file() and path.read_text() == data_hash

    def start(self, config: Config, data_hash: str, *, keep: bool) -> bool:
        """Write the configuration; say whether a checkpoint is there to go on from.

        Args:
            config: of the run.
            data_hash: of the data that it reads.
            keep: keep what an earlier run of this configuration left, to go on from it.
        """
        if not keep:
            for path in sorted(self.path.rglob("*"), reverse=True):
                if path.is_dir():
                    path.rmdir()
                elif path.name not in KEPT and path.name[0] != ".":
                    path.unlink()
        write_config(self.config, config)
        write_text(self.path / DATA_HASH, data_hash)
        return self.checkpoints.is_dir()

    def drop_checkpoints(self) -> None:
        """Remove what only a training goes on from; optimizer states are large."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def mlflow_run_id(self) -> str | None:
        """Return the MLflow run that this folder's run is logged to, None before it has one."""
        return self._mlflow_run() or None

    def lost_mlflow_run(self) -> bool:
        """Say whether a process was killed while it made an MLflow run: its id is not known."""
        return self._mlflow_run() == ""

    def expect_mlflow_run(self) -> None:
        """Say that an MLflow run is being made, whose id will be kept."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / MLFLOW_RUN, "")

    def remember_mlflow_run(self, run_id: str | None) -> None:
        """Keep the id of the MLflow run, to go on with it when resuming."""
        if run_id is not None:
            write_text(self.path / MLFLOW_RUN, run_id)

    def forget_mlflow_run(self) -> None:
        """Keep nothing of an MLflow run: the run that starts here has none."""
        for name in (MLFLOW_RUN, journal.NAME):
            (self.path / name).unlink(missing_ok=True)

    def _mlflow_run(self) -> str | None:
        path = self.path / MLFLOW_RUN
        return path.read_text().strip() if path.is_file() else None

    def finish(self, result: RunResult) -> None:
        """Write the result; from here on the run counts as finished."""
        values = asdict(result) | {"folder": str(result.folder)}
        write_json(self.result, values)

    def finished(self) -> RunResult | None:
        """Return the result of a finished run, None if it has not finished.

        Raises:
            CheckpointError: the file is damaged, or says something else.
        """
        if not self.result.is_file():
            return None
        try:
            values = parse_mapping(read_text(self.result)) | {"folder": str(self.path)}
            return _RESULT.validate_json(json.dumps(values))
        except ValidationError as error:
            why = describe(error, values)
        except (OSError, UnreadableError) as error:
            why = str(error)
        raise CheckpointError(f"{self.result} is not a run's result: {why}")


def write_config(path: Path, config: Config) -> None:
    """Write a resolved configuration as YAML, without passwords: it is shared."""
    values = public(to_container(config))
    write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def read_config(path: Path) -> Config:
    """Read what `write_config` wrote, but for whose code it may name.

    That is the reader's to say, not the file's.

    Raises:
        ConfigError: it is not a configuration of this version.
    """
    try:
        values = parse_yaml(read_text(path))
    except OSError as error:
        raise ConfigError(f"{path} is not a run's configuration: {error.strerror}") from None
    except UnreadableError as error:
        raise ConfigError(f"{path} is not a run's configuration: {error}") from None
    if isinstance(values, dict):
        values["allow_targets"] = []
    try:
        return from_container(values)
    except ConfigError as error:
        raise ConfigError(f"{path} was written by another version: {error}") from None


def _precision(config: Config) -> str:
    from adapterlab.hardware import resolve_accelerator, resolve_precision  # loads torch

    accelerator = resolve_accelerator(config.hardware.accelerator)
    return resolve_precision(config.hardware.precision, accelerator)


def _digest(values: dict[str, Any]) -> str:
    text = json.dumps(_canonical(values), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _folder_hashes(folder: str) -> dict[str, str | None]:
    """Return the hashes of a model's files by their names."""
    files = sorted(path for path in Path(folder).iterdir() if path.suffix in MODEL_FILES)
    return {path.name: file_hash(path) for path in files}


def file_hash(path: Path) -> str | None:
    """Return the SHA-256 of a file; None if it is not there."""
    if not path.is_file():
        return None  # whoever loads it says so
    stat = path.stat()
    return _content_hash(path, stat.st_mtime_ns, stat.st_size)


@cache
def _content_hash(path: Path, modified: int, size: int) -> str:
    """Hash a file once, as long as it is not changed: a model's folder may hold gigabytes."""
    return sha256(path)


def _canonical(value: Any) -> Any:
    """Write 16.0 as 16: YAML and the command line tell them apart, a run does not."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
