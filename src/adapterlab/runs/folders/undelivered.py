"""Delivering what MLflow has not got: what runs left in their folders when its server was away."""

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.bookkeeping import FileName
from adapterlab.config.parsing import absolute
from adapterlab.config.schema import Config
from adapterlab.config.validation import STRICT, checked
from adapterlab.runs.folders.abandoned import REPORTED, bury, bury_before
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking.client import connect
from adapterlab.tracking.mlflow_run import IDENTITY
from adapterlab.tracking.servers import journal
from adapterlab.tracking.servers.delivery import deliver
from adapterlab.tracking.servers.errors import Trouble, briefly, trouble
from adapterlab.tracking.study_runs import near_studies

log = logging.getLogger(__name__)


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Which runs to deliver; see conf/sync.yaml.

    Attributes:
        study: of the runs; None for all that there are.
        tracking_uri: where to; None for where each run was logged.
        root: the folder that mlruns/ lies in.
    """

    study: FileName | None
    tracking_uri: str | None
    root: str


@dataclass
class Synced:
    """What has come of the runs that had something undelivered, by their folders.

    Attributes:
        delivered: MLflow has all of them now.
        deleted: their MLflow runs have been deleted; there is nothing to deliver to.
        busy: a process is at work on them, which delivers by itself.
        kept: the others, and why.
    """

    delivered: list[Path] = field(default_factory=list)
    deleted: list[Path] = field(default_factory=list)
    busy: list[Path] = field(default_factory=list)
    kept: dict[Path, str] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """What to tell of it, but for what is kept."""
        said = [f"delivered: {path.name}" for path in self.delivered]
        said += [
            f"nothing to deliver to: {path.name}: its MLflow run has been deleted; with "
            "resume=true it gets another"
            for path in self.deleted
        ]
        said += [f"at work, and delivers by itself: {path.name}" for path in self.busy]
        return said or ([] if self.kept else ["MLflow has all: there is nothing to deliver"])

    @property
    def complaint(self) -> str | None:
        """What to tell of what is kept; None where nothing is."""
        if not self.kept:
            return None
        (first, why), *_ = self.kept.items()
        return explained(list(self.kept), f"{first.name}: {why}")


def parse_request(values: Any) -> Request:
    """Check the options.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def sync(mlruns: Path, studies: Collection[str] | None = None, uri: str | None = None) -> Synced:
    """Deliver what waits in the folders of runs. To do so twice changes nothing.

    A run whose process was killed is marked as KILLED.

    Args:
        mlruns: the folder that everything is written under.
        studies: only of these; None for all.
        uri: where to; None for where each run was logged.
    """
    found = Synced()
    away: dict[str, str] = {}
    for path in journal.folders(mlruns, studies):
        with ExitStack() as stack:
            folder = RunFolder(path)
            try:
                stack.enter_context(folder.lock(wait=False))
            except AdapterLabError:
                found.busy.append(path)
                continue
            except OSError as error:  # of another user, say
                found.kept[path] = briefly(error)
                continue
            if (waiting := journal.read(path)) is None:
                if journal.is_there(path):  # else another process was faster
                    found.kept[path] = "what is left of it cannot be read; resume=true logs it anew"
                continue
            address = waiting[0]
            where = address.uri if uri is None else uri
            if where in away:
                found.kept[path] = away[where]
                continue
            try:
                client = connect(where, mlruns)
                settle(client, folder)
                if not any(entry["what"] == "end" for entry in waiting[1]):
                    bury(client, address.run_id)
            except AdapterLabError as error:
                away[where] = found.kept[path] = str(error)
            except Exception as error:  # one run's trouble is not another's
                if trouble(error) is Trouble.GONE and _was_deleted(client, address.run_id):
                    journal.remove(path)
                    found.deleted.append(path)
                else:
                    found.kept[path] = briefly(error)
            else:
                found.delivered.append(path)
    return found


def run_sync(request: Request) -> Synced:
    """Deliver what a request asks for; see `sync`.

    Raises:
        AdapterLabError: the study has no run here; it names those with names like it. Or the root
            has none.
    """
    mlruns = Path(absolute(request.root)) / "mlruns"
    studies = None if request.study is None else [request.study]
    if request.study is not None and not (mlruns / "runs" / request.study).is_dir():
        known = {path.name for path in (mlruns / "runs").glob("*/")}
        near = near_studies(request.study, known)
        raise AdapterLabError(f"study={request.study}: no run of it is in {mlruns / 'runs'}{near}")
    if not (mlruns / "runs").is_dir():
        raise AdapterLabError(f"root={request.root}: there is no run in {mlruns}")
    return sync(mlruns, studies, request.tracking_uri)


def settle(client: Any, folder: RunFolder) -> None:
    """Deliver what waits in one run's folder, whose lock is held.

    Args:
        client: an MLflow client of the server that the run was logged to.
        folder: of the run.

    Raises:
        Exception: what the client raises; all of it stays in the folder then.
    """
    waiting = journal.read(folder.path)
    if waiting is not None:
        address, entries = waiting
        run_id, parent = address.run_id, address.parent
        deliver(client, run_id, parent, folder.path, entries, lambda _: None)
    journal.remove(folder.path)


def deliver_left(config: Config, folder: RunFolder) -> None:
    """Deliver what an earlier process of a run, whose folder is held, could not.

    Raises:
        AdapterLabError: the server is still away.
    """
    if config.tracking.enabled and journal.is_there(folder.path):
        client = connect(config.tracking.uri, config.mlruns)
        try:
            settle(client, folder)
        except AdapterLabError:
            raise
        except Exception as error:  # its run is gone, say: it gets another
            log.warning("%s: %s", folder.path.name, briefly(error))
            journal.remove(folder.path)


def give_up(config: Config, folder: RunFolder, tags: Mapping[str, str]) -> None:
    """End in MLflow what an earlier process of a run has left, which now starts anew.

    Args:
        config: of the run.
        folder: of the run, which is held.
        tags: of the run.

    Raises:
        AdapterLabError: the store does not answer.
    """
    if not config.tracking.enabled:
        if journal.is_there(folder.path):
            log.warning(
                "%s starts anew: what MLflow had not got of it is dropped", folder.path.name
            )
        folder.link.forget()
    elif folder.link.run_id() is not None or folder.link.is_lost():
        deliver_left(config, folder)
        client = connect(config.tracking.uri, config.mlruns)
        known = {name: tags[name] for name in IDENTITY if name in tags}
        bury_before(client, config.tracking.experiment, folder, known)


@dataclass(frozen=True)
class Known:
    """What MLflow has of a run, or will have as soon as its server is back.

    Attributes:
        epochs: whose metrics it has.
        metrics: names of all its metrics.
    """

    epochs: frozenset[int] = frozenset()
    metrics: frozenset[str] = frozenset()


def known_of(config: Config, folder: RunFolder, run_id: str | None) -> Known:
    """Return what need not be logged again of a run that goes on; nothing of one that is not there.

    Args:
        config: of the run.
        folder: of the run.
        run_id: of its MLflow run; None if it has none.
    """
    if run_id is None or not config.tracking.enabled:
        return Known()
    client = connect(config.tracking.uri, config.mlruns)
    # Before the server is asked: what is sent in between is there twice, and missed by neither.
    waiting = journal.read(folder.path)
    try:
        metrics = client.get_run(run_id).data.metrics
        points = client.get_metric_history(run_id, REPORTED) if REPORTED in metrics else ()
    except Exception as error:
        if trouble(error) is Trouble.GONE:
            return Known()
        raise
    lines = waiting[1] if waiting is not None and waiting[0].run_id == run_id else []
    kept = [line for line in lines if REPORTED in line.get("metrics", ())]
    epochs = {point.step for point in points} | {line["step"] for line in kept}
    return Known(frozenset(epochs), frozenset(metrics))


def _was_deleted(client: Any, run_id: str) -> bool:
    """Say whether a run is in MLflow's bin, rather than in another store."""
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "deleted")
    except Exception:
        return False


def explained(left: Sequence[Path], why: str) -> str:
    """Return the line for runs of which MLflow has not got all.

    Args:
        left: their folders, at least one.
        why: it has not.
    """
    runs = "1 run has" if len(left) == 1 else f"{len(left)} runs have"
    return (
        f"{runs} ended and MLflow has not got all of it ({why}); it is kept in "
        f"{left[0] if len(left) == 1 else left[0].parent}: when the server is back, "
        "`python scripts/sync.py` delivers it"
    )
