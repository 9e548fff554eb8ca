"""Pictures of a study's runs that were not drawn when these ended (`figures=report`)."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from adapterlab.base.amounts import counted
from adapterlab.base.errors import AdapterLabError, first_line
from adapterlab.config.parsing import absolute
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import LAST_PICTURE, RunFolder, read_config

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
            said.append(
                f"pictures of {counted(len(self.runs), 'run')}: {where}, and with their MLflow runs"
            )
        if self.left:
            (first, why), *_ = self.left.items()
            said.append(
                f"pictures of {counted(len(self.left), 'run')} were not drawn ({first.name}: {why})"
            )
        return said


def draw_deferred(root: Path | str, study: str, tracking_uri: str | None) -> Drawn:
    """Draw the pictures of the finished runs of a study that were to be drawn with its report.

    They are those that the runs would have drawn, from the predictions, the history and the test
    split; folders of runs that are not on this disk have none drawn.

    Args:
        root: the folder that mlruns/ lies in.
        study: its name.
        tracking_uri: of the store that the runs are logged to; None for the one under `root`.
    """
    root = absolute(str(root))
    drawn, todo = Drawn(), list(_left_to_the_report(Path(root), study))
    if not todo:
        return drawn
    from adapterlab.runs.results import (
        deferred_pictures,  # loads torch, which a report does without
    )
    from adapterlab.studies.sweeps.shared_data import ReadOnce

    data = ReadOnce()
    for folder, saved in tqdm(todo, desc="pictures", unit="run", disable=None):
        # What a run says of stores, folders and code is its author's.
        tracking = replace(saved.tracking, uri=tracking_uri, artifacts=None)
        config = replace(saved, root=root, tracking=tracking, allow_targets=[])
        try:
            with folder.lock(wait=False):
                deferred_pictures.draw_deferred(folder, config, data(config))
        except (AdapterLabError, OSError, pa.ArrowException, KeyError, ValueError) as error:
            drawn.left[folder.path] = first_line(error)
        else:
            drawn.runs.append(folder.path)
    return drawn


def undrawn(root: Path, study: str) -> int:
    """Count the finished runs of a study that have no pictures, by a look at their folders."""
    return len(list(_undrawn(root, study)))


def _undrawn(root: Path, study: str) -> Iterator[RunFolder]:
    for result in sorted((root / "mlruns" / "runs" / study).glob("*/result.json")):
        folder = RunFolder(result.parent)
        if not (folder.figures / LAST_PICTURE).is_file():
            yield folder


def _left_to_the_report(root: Path, study: str) -> Iterator[tuple[RunFolder, Config]]:
    """Yield the folders of finished runs that have no pictures yet and are to have some."""
    for folder in _undrawn(root, study):
        try:
            config = read_config(folder.config)
        except AdapterLabError as error:
            log.warning("%s: %s", folder.path.name, error)
            continue
        if config.figures == "report":
            yield folder, config
