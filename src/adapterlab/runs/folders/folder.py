"""Where a run lives: its folder, its lock, its configuration and its result."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from adapterlab.base.errors import CheckpointError, ConfigError, RunHeldError
from adapterlab.base.files import NOT_WRITABLE, write_json, write_text
from adapterlab.base.locks import ANOTHER, acquire, holder, try_lock
from adapterlab.base.reading import UnreadableError, parse_mapping, parse_yaml, read_text
from adapterlab.base.redaction import public
from adapterlab.config.parsing import from_container, to_container
from adapterlab.config.schema import Config
from adapterlab.config.validation import describe
from adapterlab.runs.identity import config_hash, run_name
from adapterlab.tracking.link import FILES, RunLink

log = logging.getLogger(__name__)

DATA_HASH = "data_hash"
"""The file in a run's folder that says on which data it runs."""

KEPT = (DATA_HASH, *FILES)
"""What a run that starts anew leaves in its folder: its own already."""

ADAPTER_HASH = "adapter_sha256"
"""The tag with the SHA-256 of adapter.safetensors: a store's database knows what its files were."""

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's where it is there: ten times as fast. It reads back as the same; emoji are escaped."""

OUTCOME = "adapter_outcome"
"""The tag with what a method chose while it trained, see `Hooks.outcome`."""


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


LAST_PICTURE = "learning_curves.png"
"""Of the pictures of a run: where it is, all are."""


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
    def link(self) -> RunLink:
        """Which MLflow run this folder's run is logged to."""
        return RunLink(self.path)

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
    def model(self) -> Path:
        """The run's model as MLflow's; only where that was asked for."""
        return self.path / "model"

    @property
    def mistakes(self) -> Path:
        """What the model gets wrong on the test split."""
        return self.path / "mistakes"

    @property
    def choice(self) -> Path:
        """The curve that a choice of ranks saw; only where the tool chose them."""
        return self.path / "choice"

    @property
    def figures(self) -> Path:
        """Pictures."""
        return self.path / "figures"

    @contextmanager
    def lock(self, *, wait: bool) -> Iterator[bool]:
        """Hold the folder; the lock goes with the process, however that ends.

        Yields whether another process held it, which was waited for.

        Args:
            wait: wait for another process that holds it, instead of refusing; of what has finished
                where nobody can write, take it as it is.

        Raises:
            RunHeldError: another process holds it and `wait` is False.
        """
        waited = False
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            try_lock(lock)
        except Timeout:
            by = holder(self.path / ".lock")
            if not wait:
                which = "" if by == ANOTHER else f": {by}"
                raise RunHeldError(
                    f"another process is training this very run in {self.path}{which}"
                ) from None
            log.info("waiting for %s, which is trained by %s", self.path.name, by)
            acquire(lock, self.path.name, said=by)
            waited = True
        except OSError as error:
            # A base in a root that may only be read is there to be read, once it has finished.
            if error.errno not in NOT_WRITABLE or not wait or self.finished() is None:
                raise
        try:
            yield waited
        finally:
            lock.release()

    def wait(self, said: str | None = None) -> str | None:
        """Wait until no other process holds the folder; take and return what was said of it."""
        lock = FileLock(self.path / ".lock")
        said = acquire(lock, self.path.name, said)
        lock.release()
        return said

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
            self.result.unlink(missing_ok=True)  # first: what is half removed has not finished
            for path in self.path.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)  # with what file managers leave in folders
                elif path.name not in KEPT and path.name[0] != ".":
                    path.unlink()
        write_config(self.config, config)
        write_text(self.path / DATA_HASH, data_hash)
        return self.checkpoints.is_dir()

    def drop_checkpoints(self) -> None:
        """Remove what only a training goes on from; optimizer states are large."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

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
    write_text(path, yaml.dump(values, Dumper=_DUMPER, sort_keys=False, allow_unicode=True))


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
