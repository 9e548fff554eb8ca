"""Lines of a journal as calls of an MLflow client, as many to a call as MLflow takes."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from adapterlab.tracking.servers.journal import Entry
from adapterlab.tracking.study_run import end_alone

log = logging.getLogger(__name__)

METRICS, PARAMS, TAGS = 800, 100, 100
"""The most of a call; MLflow takes 1000 of all kinds together."""


def logged(
    at: int,
    step: int,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
) -> Entry:
    """Return the line for parameters, tags and metrics, reported at a time in milliseconds."""
    texts = {key: str(value) for key, value in params.items()}
    numbers = {key: float(value) for key, value in metrics.items()}
    return {
        "what": "log", "at": at, "step": step,
        "params": texts, "tags": dict(tags), "metrics": numbers,
    }  # fmt: skip


def data(name: str, digest: str) -> Entry:
    """Return the line for a data set."""
    return {"what": "data", "name": name, "digest": digest}


def file(path: Path, where: str | None, run_folder: Path) -> Entry:
    """Return the line for a file, or a folder of files, which stays where it is."""
    inside = path.is_relative_to(run_folder)
    return {
        "what": "file",
        "path": str(path.relative_to(run_folder) if inside else path),
        "where": where,
    }


def end(status: str, error: str | None, at: int) -> Entry:
    """Return the line for a run's end."""
    return {"what": "end", "status": status, "error": error, "at": at}


def deliver(
    client: Any,
    run_id: str,
    parent: str | None,
    folder: Path,
    entries: Sequence[Entry],
    took: Callable[[int], None],
) -> None:
    """Send lines in their order.

    Args:
        client: an MLflow client.
        run_id: of the run.
        parent: the run of its study, which ends with it; None leaves that alone.
        folder: of the run; files are relative to it.
        entries: the lines.
        took: called with how many lines MLflow has taken, call by call.

    Raises:
        Exception: what the client raises; `errors.trouble` says what it means.
    """
    for group in _calls(entries):
        first = group[0]
        match first["what"]:
            case "log" | "data":
                send(client, run_id, group)
            case "file":
                path = folder / first["path"]
                if _is_inside(path, folder):
                    _file(client, run_id, path, first["where"])
                else:
                    log.warning("%s is not in the run's folder: it is not sent", path)
            case "end":
                end_run(client, run_id, parent, first["status"], first["error"], first["at"])
        took(len(group))


def _calls(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Group lines that go into one call."""
    group: list[Entry] = []
    for entry in entries:
        together = [*group, entry]
        # Parameters and tags come with a run's first and last lines; they have a call of their own.
        fits = all(
            one["what"] == "log" and not one["params"] and not one["tags"] for one in together
        )
        if group and not (fits and sum(len(one["metrics"]) for one in together) <= METRICS):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


def send(client: Any, run_id: str, group: Sequence[Entry]) -> None:
    """Send lines that need no file: a data set's, or as many `logged` ones as go together."""
    if group[0]["what"] == "data":
        _data(client, run_id, group[0])
    else:
        _log(client, run_id, group)


def _log(client: Any, run_id: str, group: Sequence[Entry]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(*item) for item in chain(*(one["params"].items() for one in group))]
    tags = [RunTag(*item) for item in chain(*(one["tags"].items() for one in group))]
    metrics = [
        Metric(key, value, one["at"], one["step"])
        for one in group
        for key, value in one["metrics"].items()
    ]
    while len(params) > PARAMS:
        client.log_batch(run_id, params=params[:PARAMS])
        params = params[PARAMS:]
    while len(tags) > TAGS:
        client.log_batch(run_id, tags=tags[:TAGS])
        tags = tags[TAGS:]
    while len(metrics) > METRICS:
        client.log_batch(run_id, metrics=metrics[:METRICS])
        metrics = metrics[METRICS:]
    if params or tags or metrics:
        client.log_batch(run_id, params=params, tags=tags, metrics=metrics)


def _data(client: Any, run_id: str, entry: Entry) -> None:
    from mlflow.entities import Dataset, DatasetInput

    source = json.dumps({"name": entry["name"]})
    kept = Dataset(entry["name"], entry["digest"], source_type="adapterlab", source=source)
    client.log_inputs(run_id, [DatasetInput(kept)])


def _is_inside(path: Path, folder: Path) -> bool:
    """Say whether a file, or all that is in a folder, lies in a run's folder, links followed.

    A journal in a folder from elsewhere may name any file that its reader can open.
    """
    home = folder.resolve()
    within = chain([path], path.rglob("*"))
    return all(one.resolve().is_relative_to(home) for one in within)


def _file(client: Any, run_id: str, path: Path, where: str | None) -> None:
    if path.is_dir():
        client.log_artifacts(run_id, str(path), where)
    elif path.is_file():
        client.log_artifact(run_id, str(path), where)
    else:
        log.warning("%s is not there any more: MLflow gets the run without it", path)


def end_run(
    client: Any, run_id: str, parent: str | None, status: str, error: str | None, at: int
) -> None:
    """End an MLflow run, and the run of its study with it, unless others are at that.

    Args:
        client: an MLflow client.
        run_id: of the run.
        parent: the run of its study; None leaves that alone.
        status: of both.
        error: what the run failed by, in a line; None if it did not.
        at: when it ended, in milliseconds.
    """
    if error is not None:
        client.set_tag(run_id, "error", error)
    client.set_terminated(run_id, status, at)
    if parent is not None:
        end_alone(client, run_id, parent, status, at)
