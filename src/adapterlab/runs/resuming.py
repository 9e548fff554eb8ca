"""Finding a finished run again, without loading what only a training needs."""

from adapterlab.config.schema import Config
from adapterlab.runs.data import RunData
from adapterlab.runs.folder import RunResult
from adapterlab.runs.homes import home_of
from adapterlab.runs.provenance import foreseen, read_provenance
from adapterlab.runs.wholeness import finished_whole
from adapterlab.tracking.mlflow_run import is_logged
from adapterlab.tracking.servers import journal


def finished_run(config: Config, data: RunData) -> RunResult | None:
    """Return the result of a run that `resume` need not repeat, None if there is more to do.

    It has finished, on what it would be computed on now, its files are whole, and MLflow has it.

    Raises:
        AdapterLabError: the store cannot be reached.
    """
    if not config.resume:
        return None
    folder = home_of(config, data.hash)
    result, before = finished_whole(folder), read_provenance(folder)
    if result is None or before is None or journal.is_there(folder.path):
        return None
    if foreseen(config, data).unlike(before):
        return None
    return result if is_logged(config, result.run_id) else None
