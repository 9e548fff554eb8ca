"""Finding a finished run again, without loading what only a training needs."""

from adapterlab import journal
from adapterlab.config import Config
from adapterlab.loading import RunData
from adapterlab.runs import RunFolder, RunResult
from adapterlab.tracking import is_logged


def finished_run(config: Config, data: RunData) -> RunResult | None:
    """Return the result of a run that `resume` need not repeat, None if there is more to do.

    It has finished, on the data as they are now, and MLflow has it.

    Raises:
        AdapterLabError: the store cannot be reached.
    """
    if not config.resume:
        return None
    folder = RunFolder.of(config)
    result = folder.finished()
    if result is None or not folder.same_data(data.hash) or journal.is_there(folder.path):
        return None
    return result if is_logged(config, result.run_id) else None
