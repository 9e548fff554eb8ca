"""Pictures of a study's runs that were not drawn when these ended (`figures=report`)."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from adapterlab.base.errors import AdapterLabError, first_line
from adapterlab.config.schema import Config
from adapterlab.runs.folder import LAST_PICTURE, RunFolder, read_config

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
    drawn, todo = Drawn(), list(_undrawn(root / "mlruns" / "runs" / study))
    if not todo:
        return drawn
    from adapterlab.runs import late_pictures  # loads torch, which a report does without
    from adapterlab.studies.read_once import ReadOnce

    data = ReadOnce()
    for folder, saved in tqdm(todo, desc="pictures", unit="run", disable=None):
        # What a run says of stores, folders and code is its author's.
        tracking = replace(saved.tracking, uri=tracking_uri, artifacts=None)
        config = replace(saved, root=str(root), tracking=tracking, allow_targets=[])
        try:
            with folder.lock(wait=False):
                late_pictures.draw_late(folder, config, data(config))
        except (AdapterLabError, OSError, pa.ArrowException, KeyError, ValueError) as error:
            drawn.left[folder.path] = first_line(error)
        else:
            drawn.runs.append(folder.path)
    return drawn


def undrawn(root: Path, study: str) -> int:
    """Count the finished runs of a study that have no pictures, by a look at their folders."""
    runs = root / "mlruns" / "runs" / study
    ended = (result.parent for result in runs.glob("*/result.json"))
    return sum(not (RunFolder(path).figures / LAST_PICTURE).is_file() for path in ended)


def _undrawn(runs: Path) -> Iterator[tuple[RunFolder, Config]]:
    """Yield the folders of finished runs that have no pictures yet and are to have some."""
    for result in sorted(runs.glob("*/result.json")):
        folder = RunFolder(result.parent)
        if (folder.figures / LAST_PICTURE).is_file():
            continue
        try:
            config = read_config(folder.config)
        except AdapterLabError as error:
            log.warning("%s: %s", folder.path.name, error)
            continue
        if config.figures == "report":
            yield folder, config
