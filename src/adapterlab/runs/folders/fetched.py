"""Runs that MLflow has and this disk has not: their configuration, result and adapter.

A base that one machine has trained need not be trained again by others that share its MLflow; on
other hardware that would not give the same weights.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

from adapterlab.base.errors import AdapterLabError, CheckpointError, first_line
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import ADAPTER_HASH, RunFolder, read_config
from adapterlab.runs.folders.integrity import seal
from adapterlab.runs.identity import config_hash
from adapterlab.tracking.earlier_runs import earlier_runs, fetched

log = logging.getLogger(__name__)


def download(client: Any, run_id: str, folder: RunFolder) -> None:
    """Bring a finished run's configuration, result and adapter from MLflow into a folder.

    Raises:
        AdapterLabError: there is no such run.
        CheckpointError: its adapter is not the one that it had logged.
    """
    from mlflow.exceptions import MlflowException

    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        logged = client.get_run(run_id).data.tags.get(ADAPTER_HASH)
        fetched(client, run_id, "config.yaml", folder.path, None)
        fetched(client, run_id, "adapter/adapter.safetensors", folder.path, logged)
        fetched(client, run_id, "result.json", folder.path, None)
    except (MlflowException, OSError) as error:
        raise AdapterLabError(
            f"run={run_id} is neither a run folder nor a finished MLflow run: {first_line(error)}"
        ) from None


def move(found: RunFolder, home: RunFolder, run_id: str) -> None:
    """Put what was brought where all runs find it. The lock of its home is held."""
    for path in (found.config, found.adapter):
        path.replace(home.path / path.name)
    seal(home)
    found.result.replace(home.result)
    home.link.remember(run_id)


def bring_base(config: Config, home: RunFolder, data_hash: str) -> None:
    """Bring the run of a base from MLflow, if it has been trained and this disk lacks it.

    It has the same configuration, was trained on the same data, and its weights are those that it
    had logged; where there are several, it is the one that began first.

    Args:
        config: of the base's run.
        home: of that, which is held.
        data_hash: of the data that it reads.
    """
    if home.result.is_file():
        return
    identity = {"kind": "base", "config_hash": config_hash(config), "data_hash": data_hash}
    # A run of a version that wrote down no hash has nothing to verify it by.
    for client, run in earlier_runs(config, identity, lasting=ADAPTER_HASH):
        run_id = str(run.info.run_id)
        with tempfile.TemporaryDirectory(dir=home.path, prefix=".brought-") as scratch:
            found = RunFolder(Path(scratch))
            try:
                download(client, run_id, found)
                _require_same(config, found, data_hash, run_id)
            except AdapterLabError as error:
                log.warning("base %s is not taken from MLflow: %s", home.path.name, error)
                continue
            move(found, home, run_id)
        log.info("base %s: brought from MLflow, its SHA-256 as it was logged", home.path.name)
        return


def _require_same(config: Config, found: RunFolder, data_hash: str, run_id: str) -> None:
    """Refuse a run whose files are not of the base that its tags say.

    Raises:
        CheckpointError: they are not.
    """
    result = found.finished()
    same = result is not None and result.data_hash == data_hash
    if not same or config_hash(read_config(found.config)) != config_hash(config):
        raise CheckpointError(f"files of the MLflow run {run_id} are of another run")
