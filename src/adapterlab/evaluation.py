"""Evaluating a saved run again, from its folder or from MLflow."""

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
from adapterlab.config import STRICT, Config, Hardware, checked
from adapterlab.errors import AdapterLabError
from adapterlab.hardware import choose_device
from adapterlab.measurements import why_no_source
from adapterlab.pipeline import run
from adapterlab.predictions import predict
from adapterlab.runs import RunFolder, read_config, run_name
from adapterlab.tracking import connect


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
    """

    name: str
    split: str
    metrics: Mapping[str, float]
    logged: Mapping[str, float]

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

    The base is taken from its own run, or trained again by the same configuration; the adapter
    refuses to load onto weights that are not those it was trained over.

    Raises:
        AdapterLabError: there is no such finished run, or its data or weights are missing.
    """
    with _saved(request) as (folder, logged):
        config = _here(read_config(folder.config), request)
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
    return Evaluation(name=run_name(config), split=request.split, metrics=metrics, logged=known)


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
    precision = config.hardware.precision
    return replace(
        config,
        hardware=replace(request.hardware, precision=precision),
        root=str(Path(request.root).expanduser().resolve()),
        data_dir=request.data_dir and str(Path(request.data_dir).expanduser().resolve()),
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
        yield _downloaded(request, Path(scratch))


def _downloaded(request: Request, scratch: Path) -> tuple[RunFolder, dict[str, Any]]:
    client = connect(request.tracking_uri, Path(request.root).expanduser().resolve() / "mlruns")
    from mlflow.exceptions import MlflowException

    try:
        saved = client.get_run(request.run)
        client.download_artifacts(request.run, "config.yaml", str(scratch))
        adapter = client.download_artifacts(
            request.run, "adapter/adapter.safetensors", str(scratch)
        )
    except (MlflowException, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise AdapterLabError(
            f"run={request.run} is neither a run folder nor a finished MLflow run: {first_line}"
        ) from None
    Path(adapter).replace(RunFolder(scratch).adapter)
    return RunFolder(scratch), dict(saved.data.metrics)
