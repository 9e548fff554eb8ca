"""Evaluating a saved run again, from its folder or from MLflow."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from adapterlab.adapters import load_adapter
from adapterlab.assembly import Assembly, assemble, source_data, source_model
from adapterlab.bases import base_run
from adapterlab.config import Config, Hardware
from adapterlab.errors import AdapterLabError
from adapterlab.hardware import choose_device
from adapterlab.measurements import why_no_source
from adapterlab.parsing import absolute
from adapterlab.pipeline import run
from adapterlab.predictions import predict
from adapterlab.runs import RunFolder, config_hash, read_config, run_name
from adapterlab.tracking import connect
from adapterlab.validation import STRICT, checked


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Which run to evaluate, and on which split; see conf/evaluate.yaml."""

    run: str
    split: Literal["train", "validation", "test", "source"]
    tracking_uri: str | None
    root: str
    data_dir: str | None
    hardware: Hardware


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of a saved run, measured again.

    Attributes:
        name: the run's name.
        split: what it was evaluated on.
        metrics: by name, such as ``accuracy``.
        logged: those of the same names that the run logged when it was trained.
        notes: what a reader of the figures should know about the data.
    """

    name: str
    split: str
    metrics: Mapping[str, float]
    logged: Mapping[str, float]
    notes: tuple[str, ...]

    def differences(self) -> dict[str, float]:
        """Return by how much metrics differ from the logged ones, where they do."""
        gaps = {name: self.metrics[name] - logged for name, logged in self.logged.items()}
        return {name: gap for name, gap in gaps.items() if gap != 0}


def parse_request(values: Any) -> Request:
    """Check the options of an evaluation.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def evaluate_saved(request: Request) -> Evaluation:
    """Rebuild a saved run's model and evaluate it.

    The base is taken from its own run, in its folder or in MLflow, or else trained again by the
    same configuration; the adapter refuses to load onto weights other than its own.

    Raises:
        AdapterLabError: there is no such finished run, or its data or weights are missing.
    """
    with _saved(request) as (folder, logged):
        config = _here(read_config(folder.config), request)
        _restore_base(config, folder, request)
        assembly = assemble(config, train=run)
        load_adapter(assembly.adapted, folder.adapter)
    device = choose_device(config.hardware).torch
    if request.split == "source":
        metrics = _source_metrics(config, assembly)
        prefix, logged = "source/", {"accuracy": logged.get("source/accuracy_after")}
    else:
        metrics = predict(assembly.adapted, assembly.data, request.split, device).metrics()
        prefix = f"{request.split}/"
        logged = {name: logged.get(f"{prefix}{name}") for name in metrics}
    known = {name: value for name, value in logged.items() if value is not None}
    return Evaluation(
        name=run_name(config),
        split=request.split,
        metrics=metrics,
        logged=known,
        notes=assembly.notes,
    )


def _source_metrics(config: Config, assembly: Assembly) -> dict[str, float]:
    why = why_no_source(config, assembly)
    if why is not None:
        raise AdapterLabError(f"split=source: {why}")
    device = choose_device(config.hardware).torch
    return predict(
        source_model(config, assembly), source_data(config, assembly), "test", device
    ).metrics()


def _here(config: Config, request: Request) -> Config:
    """Take from the run what it computes, and from the request where that happens."""
    hardware = replace(
        request.hardware,
        precision=config.hardware.precision,
        threads=request.hardware.threads or config.hardware.threads,
    )
    tracking = replace(config.tracking, uri=request.tracking_uri or config.tracking.uri)
    return replace(
        config,
        hardware=hardware,
        tracking=tracking,
        root=absolute(request.root),
        data_dir=request.data_dir and absolute(request.data_dir),
    )


@contextmanager
def _saved(request: Request) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
    """Find a run's files and logged metrics, in its folder or in MLflow."""
    path = Path(request.run).expanduser()
    if path.is_dir():
        folder = RunFolder(path.resolve())
        result = folder.finished()
        if result is None:
            raise AdapterLabError(f"run={request.run}: no finished run in this folder")
        yield folder, dict(result.metrics)
        return
    with tempfile.TemporaryDirectory(prefix="adapterlab-") as scratch:
        folder = RunFolder(Path(scratch))
        _download(request, request.run, folder)
        result = folder.finished()
        assert result is not None
        yield folder, dict(result.metrics)


def _download(request: Request, run_id: str, folder: RunFolder) -> None:
    """Bring a finished run's configuration, result and adapter from MLflow into a folder."""
    client = connect(request.tracking_uri, Path(absolute(request.root)) / "mlruns")
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


def _restore_base(config: Config, folder: RunFolder, request: Request) -> None:
    """Bring the base from MLflow, if its own folder is gone: training it again is the last resort.

    On other hardware that would not give the same weights.
    """
    base, saved = base_run(config), folder.finished()
    base_id = saved.tags.get("base_run_id") if saved else None
    if base is None or base_id is None:
        return
    home = RunFolder.of(base)
    with home.lock(wait=True), tempfile.TemporaryDirectory(dir=home.path) as scratch:
        found = RunFolder(Path(scratch))
        if home.finished() is not None:
            return
        with contextlib.suppress(AdapterLabError):
            _download(request, base_id, found)
            if config_hash(read_config(found.config)) == config_hash(base):
                for path in (found.config, found.adapter, found.result):
                    path.replace(home.path / path.name)
                home.remember_mlflow_run(base_id)
