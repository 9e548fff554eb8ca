"""Pictures of a study's runs that were not drawn when these ended (`figures=report`)."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from adapterlab.base.errors import AdapterLabError, first_line
from adapterlab.config.schema import Config
from adapterlab.drawing.pictures import Pictures
from adapterlab.runs.artifacts import draw_confusion, draw_curves
from adapterlab.runs.folder import RunFolder, RunResult, read_config
from adapterlab.runs.identity import run_name
from adapterlab.runs.integrity import damage, seal
from adapterlab.runs.mistakes import write_mistakes
from adapterlab.runs.preprocessing import rows_called, within_limit
from adapterlab.studies.read_once import ReadOnce
from adapterlab.tracking.client import connect
from adapterlab.training.predictions import read_predictions

log = logging.getLogger(__name__)


@dataclass
class Drawn:
    """What has come of the pictures of a study's runs.

    Attributes:
        runs: folders of those whose pictures are there now.
        left: of those whose are not, and why.
    """

    runs: list[Path] = field(default_factory=list)
    left: dict[Path, str] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """What to tell of it; nothing where there was nothing to draw."""
        said = []
        if self.runs:
            where = f"figures/ and mistakes/ of {self.runs[0].parent}/*"
            said.append(f"pictures of {_runs(self.runs)}: {where}, and with their MLflow runs")
        if self.left:
            (first, why), *_ = self.left.items()
            said.append(f"pictures of {_runs(self.left)} were not drawn ({first.name}: {why})")
        return said


def _runs(folders: Collection[Path]) -> str:
    return f"{len(folders)} run{'s' * (len(folders) != 1)}"


def draw_late(root: Path, study: str, tracking_uri: str | None) -> Drawn:
    """Draw the pictures of the finished runs of a study that were to be drawn with its report.

    They are those that the runs would have drawn, from the predictions, the history and the test
    split; folders of runs that are not on this disk have none drawn.

    Args:
        root: the folder that mlruns/ lies in.
        study: its name.
        tracking_uri: of the store that the runs are logged to; None for the one under `root`.
    """
    drawn, data = Drawn(), ReadOnce()
    todo = list(_undrawn(root / "mlruns" / "runs" / study))
    for folder, saved in tqdm(todo, desc="pictures", unit="run", disable=None):
        # What a run says of stores, folders and code is its author's.
        tracking = replace(saved.tracking, uri=tracking_uri, artifacts=None)
        config = replace(saved, root=str(root), tracking=tracking, allow_targets=[])
        try:
            with folder.lock(wait=False):
                _draw(folder, config, data)
        except (AdapterLabError, OSError, pa.ArrowException, KeyError, ValueError) as error:
            drawn.left[folder.path] = first_line(error)
        else:
            drawn.runs.append(folder.path)
    return drawn


def _undrawn(runs: Path) -> Iterator[tuple[RunFolder, Config]]:
    """Yield the folders of finished runs that have no pictures yet and are to have some."""
    for result in sorted(runs.glob("*/result.json")):
        folder = RunFolder(result.parent)
        if (folder.figures / "learning_curves.png").is_file():
            continue
        try:
            config = read_config(folder.config)
        except AdapterLabError as error:
            log.warning("%s: %s", folder.path.name, error)
            continue
        if config.figures == "report":
            yield folder, config


def _draw(folder: RunFolder, config: Config, data: ReadOnce) -> None:
    """Draw a run's pictures, and add them to what is kept of it here and in MLflow.

    Raises:
        AdapterLabError: its files or its data are not what they were.
    """
    result = folder.finished()
    if result is None or (lost := damage(folder)):
        what = ", ".join(lost[:3]) if result else "the run"
        raise AdapterLabError(f"{what} is not as it was written; resume=true brings it back")
    read = data(config)
    if read.hash != result.data_hash:
        raise AdapterLabError("the data have changed since this run was trained")
    title, pictures, best = run_name(config), Pictures(), int(result.metrics["best/epoch"])
    if config.task == "single_label":
        test = read_predictions(folder.predictions)
        examples = within_limit(config, read.target.test, "test")
        rows = rows_called(config, read.target, "test")
        write_mistakes(folder.mistakes, test, examples, title=title, rows=rows, pictures=pictures)
        folder.figures.mkdir(exist_ok=True)
        draw_confusion(test, title, folder, pictures)
    # Last, and it says that all are there: whoever is interrupted draws them again.
    draw_curves(result.history, best, config.task, title, folder, pictures)
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
