"""Which MLflow run a run is logged to, kept in the folder of its files."""

from dataclasses import dataclass
from pathlib import Path

from adapterlab.base.files import write_text
from adapterlab.tracking.servers import journal

RUN_ID = "mlflow_run_id"
"""The file that names the MLflow run; empty while that is made."""

FILES = (RUN_ID, journal.NAME)
"""All files of a run's folder that are about its MLflow run."""


@dataclass(frozen=True)
class RunLink:
    """What a run's folder says of its MLflow run.

    Attributes:
        folder: of the run.
    """

    folder: Path

    def run_id(self) -> str | None:
        """Return the id of the MLflow run, None before there is one."""
        return self._written() or None

    def is_lost(self) -> bool:
        """Say whether a process was killed while it made an MLflow run: its id is not known."""
        return self._written() == ""

    def expect(self) -> None:
        """Say that an MLflow run is being made, whose id will be kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / RUN_ID, "")

    def remember(self, run_id: str | None) -> None:
        """Keep the id of the MLflow run, to go on with it when resuming."""
        if run_id is not None:
            write_text(self.folder / RUN_ID, run_id)

    def forget(self) -> None:
        """Keep nothing of an MLflow run: the run that starts here has none."""
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)

    def _written(self) -> str | None:
        path = self.folder / RUN_ID
        return path.read_text().strip() if path.is_file() else None
