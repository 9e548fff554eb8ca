"""Cache files that machines without a common disk have from each other, by MLflow's artifacts.

Decoded images, tokens and features of frozen layers are the same wherever they are made, and a file
in the cache is named by all that it depends on. Where several machines log to one store, whoever
makes such a file first logs it as well, to a run of its own that has the file's SHA-256 as a tag,
and the others take it from there. They are tensors and JSON (safetensors), and no code.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from adapterlab.base.errors import AdapterLabError, CheckpointError, first_line
from adapterlab.base.files import flush_one, sha256
from adapterlab.base.process_identity import PROCESS_TAG, this_process
from adapterlab.base.redaction import redacted
from adapterlab.base.revision import source_tags
from adapterlab.base.shared_cache import shared_with
from adapterlab.base.signals import at_sudden_end
from adapterlab.config.schema import Config
from adapterlab.tracking.client import connect
from adapterlab.tracking.earlier_runs import earlier_runs, fetched
from adapterlab.tracking.mlflow_run import experiment_id_of
from adapterlab.tracking.servers.errors import Trouble, briefly, trouble
from adapterlab.tracking.servers.patience import calm, unwaiting
from adapterlab.tracking.stores.uris import default_uri, sqlite_file

log = logging.getLogger(__name__)

KIND = "shared"
"""The tag `kind` of runs that hold such files."""

FOLDER = "cache"
"""Where a run has them."""

_ENTRY = "entry"
_OF_THE_STORE = (Trouble.AWAY, Trouble.BARRED)
_GIB = 2**30


def sharing(config: Config) -> AbstractContextManager[None]:
    """Share what is made for a run from now on, if others may reach the store that it is logged to.

    The store in `root`/mlruns is reached by who reaches the cache beside it.
    """
    tracking = config.tracking
    if not tracking.enabled or tracking.uri is None or not tracking.share_gib or config.plan:
        return nullcontext()
    file = sqlite_file(tracking.uri)
    if file is not None and file == sqlite_file(default_uri(config.mlruns)):
        return nullcontext()
    return shared_with(SharedEntries(config))


class SharedEntries:
    """What a store's runs have of cache files; an `adapterlab.base.shared_cache.Others`.

    Args:
        config: of the run that they are made for.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._limit = config.tracking.share_gib * _GIB
        self._run_id: str | None = None
        self._refused: set[tuple[str, str]] = set()
        self._given_up = False

    def bring(self, path: Path, require: Callable[[Path], None]) -> bool:
        """Put a file that a run has in its place; say whether there was one that may be used."""
        return self._try(
            lambda: any(self._taken(*one, path, require) for one in self._having(path))
        )

    def give(self, path: Path) -> None:
        """Log a file that was made here, unless a run has it or it is too large."""
        self._try(lambda: self._given(path))

    def _try(self, what: Callable[[], bool]) -> bool:
        """Do something with the store, as long as it answers; say whether it was done."""
        from mlflow.exceptions import MlflowException

        if self._given_up:
            return False
        try:
            return what()
        except (MlflowException, AdapterLabError, OSError) as error:
            self._given_up = True
            line = redacted(briefly(error))
            log.warning("MLflow has no part in the cache, each machine makes its own: %s", line)
            return False

    def _having(self, path: Path) -> Iterator[tuple[Any, Any]]:
        """Yield runs that have a file, and that it was not refused from, with a client."""
        tag = _tag(path)
        for client, run in earlier_runs(self._config, {"kind": KIND}, lasting=tag, patient=False):
            if (str(run.info.run_id), tag) not in self._refused:
                yield client, run

    def _taken(self, client: Any, run: Any, path: Path, require: Callable[[Path], None]) -> bool:
        """Put a run's file in its place; say whether it is what it should be."""
        run_id, tag = str(run.info.run_id), _tag(path)
        scratch = path.with_name(f".{path.name}.brought")
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        scratch.mkdir()
        try:
            there = self._artifact(client, run_id, path)
            if there is None:
                return False
            found = fetched(client, run_id, there, scratch, run.data.tags[tag])
            require(found)
            flush_one(found)
            found.replace(path)
        except Exception as error:
            if not isinstance(error, AdapterLabError) and trouble(error) in _OF_THE_STORE:
                raise
            self._refused.add((run_id, tag))
            line = redacted(first_line(error)).removeprefix(
                f"{path.name} of the MLflow run {run_id} "
            )
            log.warning("%s is not taken from the MLflow run %s: %s", _said(path), run_id, line)
            return False
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        log.info("%s: brought from MLflow, its SHA-256 as it was logged", _said(path))
        return True

    def _artifact(self, client: Any, run_id: str, path: Path) -> str | None:
        """Return where a run has a file, which may begin with another name there.

        Returns:
            None for one that is too large, which is said when it has been made.

        Raises:
            CheckpointError: it has none.
        """
        wanted = _digest(path) + path.suffix
        for one in client.list_artifacts(run_id, FOLDER):
            name = one.path.removeprefix(f"{FOLDER}/")
            if "/" in name or "\\" in name or name.rpartition("-")[2] != wanted:
                continue
            if one.file_size is not None and one.file_size > self._limit:
                return None
            return str(one.path)
        raise CheckpointError("the file is not there")

    def _given(self, path: Path) -> bool:
        size = path.stat().st_size
        if size > self._limit:
            log.warning(
                "%s would take %.3g GiB, tracking.share_gib allows %g: each machine makes its own",
                _said(path), size / _GIB, self._config.tracking.share_gib,
            )  # fmt: skip
            return False
        if any(True for _ in self._having(path)):
            return False  # another machine was faster
        digest = sha256(path)
        client = connect(self._config.tracking.uri, self._config.mlruns)
        if self._run_id is None:
            self._run_id = self._begun(client)
        straight = unwaiting(client)
        straight.log_artifact(self._run_id, str(path), FOLDER)
        with calm(client):
            straight.set_tag(self._run_id, _tag(path), digest)  # from now on it is found
        return True

    def _begun(self, client: Any) -> str:
        """Return a new run, which has ended: nobody carries it out."""
        name = self._config.dataset.name
        tags = {"kind": KIND, "dataset": name, PROCESS_TAG: this_process(), **source_tags()}
        with calm(client):
            where = experiment_id_of(client, self._config)
            run = client.create_run(where, run_name=f"{KIND}-{name}", tags=tags)
            with at_sudden_end(partial(client.set_terminated, run.info.run_id, "KILLED")):
                client.set_terminated(run.info.run_id)
        return str(run.info.run_id)


def _digest(path: Path) -> str:
    """Return the end of a cache file's name, which says all that the file depends on."""
    return path.stem.rpartition("-")[2]


def _said(path: Path) -> str:
    """Return what to call a file to people."""
    name, _, digest = path.stem.rpartition("-")
    return f"{name}-{digest[:12]}"


def _tag(path: Path) -> str:
    return f"{_ENTRY}.{_digest(path)}"
