"""Finding a saved run in its folder or in MLflow, and rebuilding the model that it trained."""

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic.dataclasses import dataclass as checked_dataclass

from adapterlab.adapters import load_adapter, read_extra
from adapterlab.assembly import Assembly, assemble
from adapterlab.bases import base_run
from adapterlab.config import Config, Hardware
from adapterlab.errors import AdapterLabError, CheckpointError
from adapterlab.homes import home_of, homes
from adapterlab.parsing import absolute
from adapterlab.pipeline import run
from adapterlab.runs import RunFolder, RunResult, config_hash, read_config
from adapterlab.tracking import connect
from adapterlab.validation import STRICT


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class SavedRun:
    """Which run is meant, where it is looked for, and where its model computes.

    Attributes:
        run: MLflow run id, or run folder.
        tracking_uri: where an id is looked up; None is the store under `root`/mlruns.
        root: the folder that mlruns/ lies in.
        data_dir: folder with local copies of data sets.
        hardware: precision is the run's own, whatever is given here.
    """

    run: str
    tracking_uri: str | None
    root: str
    data_dir: str | None
    hardware: Hardware


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


def rebuild(saved: SavedRun) -> Rebuilt:
    """Rebuild a saved run's adapted model, on the CPU.

    The base is taken from its own run, in its folder or in MLflow, or else trained again by the
    same configuration; the adapter refuses to load onto weights other than its own.

    Raises:
        AdapterLabError: there is no such finished run, or its data or weights are missing.
    """
    with _found(saved) as (folder, result):
        config = _here(read_config(folder.config), saved)
        _restore_base(config, result, saved)
        assembly = assemble(config, train=run)
        load_adapter(assembly.adapted, folder.adapter)
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


def _here(config: Config, saved: SavedRun) -> Config:
    """Take from the run what it computes, and from the request where that happens."""
    hardware = replace(
        saved.hardware,
        precision=config.hardware.precision,
        threads=saved.hardware.threads or config.hardware.threads,
    )
    tracking = replace(config.tracking, uri=saved.tracking_uri or config.tracking.uri)
    return replace(
        config,
        hardware=hardware,
        tracking=tracking,
        root=absolute(saved.root),
        data_dir=saved.data_dir and absolute(saved.data_dir),
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
        yield folder, result
        return
    with tempfile.TemporaryDirectory(prefix="adapterlab-") as scratch:
        folder = RunFolder(Path(scratch))
        _download(saved, saved.run, folder)
        result = folder.finished()
        assert result is not None
        yield folder, result


def _download(saved: SavedRun, run_id: str, folder: RunFolder) -> None:
    """Bring a finished run's configuration, result and adapter from MLflow into a folder."""
    client = connect(saved.tracking_uri, Path(absolute(saved.root)) / "mlruns")
    from mlflow.exceptions import MlflowException

    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        for artifact in ("config.yaml", "adapter/adapter.safetensors", "result.json"):
            found = client.download_artifacts(run_id, artifact, str(folder.path))
            Path(found).replace(folder.path / Path(artifact).name)
    except (MlflowException, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise AdapterLabError(
            f"run={run_id} is neither a run folder nor a finished MLflow run: {first_line}"
        ) from None


def _restore_base(config: Config, result: RunResult, saved: SavedRun) -> None:
    """Bring the base from MLflow, if its own folder is gone: training it again is the last resort.

    On other hardware that would not give the same weights.
    """
    base, base_id = base_run(config), result.tags.get("base_run_id")
    if base is None or base_id is None:
        return
    if any(home.finished() is not None for home in homes(base)):
        return
    home = RunFolder.of(base)
    with home.lock(wait=True), tempfile.TemporaryDirectory(dir=home.path) as scratch:
        found = RunFolder(Path(scratch))
        if home.finished() is not None:
            return
        with contextlib.suppress(AdapterLabError):
            _download(saved, base_id, found)
            restored = found.finished()
            same = config_hash(read_config(found.config)) == config_hash(base)
            if restored is not None and same and home_of(base, restored.data_hash) == home:
                for path in (found.config, found.adapter, found.result):
                    path.replace(home.path / path.name)
                home.remember_mlflow_run(base_id)
