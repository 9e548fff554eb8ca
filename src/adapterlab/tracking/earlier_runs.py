"""Files that MLflow has of earlier runs: found by the runs' tags, verified by their SHA-256.

A store's database says what its files were when they were logged; artifacts lie elsewhere, where
others may write, and transfers break off. So a file counts if it is the one that was logged.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapterlab.base.errors import CheckpointError
from adapterlab.base.files import sha256
from adapterlab.config.schema import Config
from adapterlab.tracking.client import connect
from adapterlab.tracking.searching import searched
from adapterlab.tracking.servers.patience import unwaiting
from adapterlab.tracking.stores.uris import default_uri, sqlite_file


def earlier_runs(
    config: Config, tags: Mapping[str, str], *, lasting: str, patient: bool = True
) -> Iterator[tuple[Any, Any]]:
    """Yield runs of a configuration's MLflow experiment with a client, that began first first.

    Where there is no store yet, none is made.

    Args:
        config: says which store and experiment.
        tags: that the runs have.
        lasting: name of a tag that they have as well, whatever it says.
        patient: wait for a server that may be restarting; see `servers.patience`.

    Raises:
        AdapterLabError: no store answers.
        MlflowException, OSError: likewise, where it is not waited for.
    """
    tracking = config.tracking
    file = sqlite_file(tracking.uri or default_uri(config.mlruns))
    if not tracking.enabled or (file is not None and not file.is_file()):
        return
    client = connect(tracking.uri, config.mlruns)
    client = client if patient else unwaiting(client)
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        return
    query = " and ".join(f"tags.`{name}` = {json.dumps(value)}" for name, value in tags.items())
    query += f" and tags.`{lasting}` LIKE '%' and attributes.status = 'FINISHED'"
    order = ["attributes.start_time ASC"]
    for run in searched(client, experiment.experiment_id, query, order_by=order):
        yield client, run


def fetched(client: Any, run_id: str, artifact: str, into: Path, logged: str | None) -> Path:
    """Bring a file from MLflow into a folder, under its own name.

    Args:
        client: an MLflow client.
        run_id: of the run that has it.
        artifact: where the run has it.
        into: the folder.
        logged: its SHA-256 when it was logged; None where that is not known.

    Raises:
        MlflowException, OSError: it cannot be had.
        CheckpointError: it is not the file that was logged.
    """
    path = into / Path(artifact).name
    Path(client.download_artifacts(run_id, artifact, str(into))).replace(path)
    if logged is not None and logged != (present := sha256(path)):
        raise CheckpointError(
            f"{path.name} of the MLflow run {run_id} is not the file that was logged: its "
            f"SHA-256 was {logged[:12]} and is {present[:12]}"
        )
    return path
