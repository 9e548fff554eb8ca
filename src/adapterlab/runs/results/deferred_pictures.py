"""Pictures of a finished run that it has left to the report (`figures=report`)."""

from adapterlab.base.errors import AdapterLabError, first_line
from adapterlab.config.schema import Config
from adapterlab.drawing.pictures import Pictures
from adapterlab.runs.data import RunData
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.integrity import damage, seal
from adapterlab.runs.identity import run_name
from adapterlab.runs.preprocessing import rows_called, within_limit
from adapterlab.runs.results.artifacts import draw
from adapterlab.runs.results.mistakes import write_mistakes
from adapterlab.tracking.client import connect
from adapterlab.training.predictions import read_predictions


def draw_deferred(folder: RunFolder, config: Config, read: RunData) -> None:
    """Draw a run's pictures, and add them to what is kept of it here and in MLflow.

    They are those that it would have drawn, from its predictions, its history and the test split.

    Args:
        folder: of the run, which is held.
        config: of the run.
        read: the data that it names now.

    Raises:
        AdapterLabError: its files or its data are not what they were.
    """
    result = folder.finished()
    if result is None or (lost := damage(folder)):
        what = ", ".join(lost[:3]) if result else "the run"
        raise AdapterLabError(f"{what} is not as it was written; resume=true brings it back")
    if read.hash != result.data_hash:
        raise AdapterLabError("the data have changed since this run was trained")
    title, pictures, test = run_name(config), Pictures(), None
    if config.task == "single_label":
        test = read_predictions(folder.predictions)
        examples = within_limit(config, read.target.test, "test")
        rows = rows_called(config, read.target, "test")
        write_mistakes(folder.mistakes, test, examples, title=title, rows=rows, pictures=pictures)
    # Last, and its last says that all are there: whoever is interrupted draws them again.
    best = int(result.metrics["best/epoch"])
    draw(result.history, best, config.task, test, title, folder, pictures)
    seal(folder)
    _log(folder, config, result)


def _log(folder: RunFolder, config: Config, result: RunResult) -> None:
    """Add the pictures to what MLflow has of a run.

    Raises:
        AdapterLabError: it does not take them; they are in the folder all the same.
    """
    if not config.tracking.enabled or result.run_id is None:
        return
    from mlflow.exceptions import MlflowException

    client = connect(config.tracking.uri, config.mlruns)
    try:
        client.log_artifacts(result.run_id, str(folder.figures), "figures")
        client.log_artifacts(result.run_id, str(folder.mistakes), "mistakes")
    except (MlflowException, OSError) as error:
        raise AdapterLabError(
            f"they are in its folder, and MLflow did not take them: {first_line(error)}"
        ) from None
