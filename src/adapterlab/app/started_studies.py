"""The studies that multiruns of this process have started, until their end has been said.

Nothing heavy is imported here: every command line loads this.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StartedStudy:
    """A study that a multirun of this process has started; `multirun` is the latter's name.

    Attributes:
        figures: when its runs' pictures are drawn, where a run says nothing else.
        names: of the studies whose tables are printed: its own, or those of ``study=a,b``.
    """

    name: str
    multirun: str
    root: str
    tracking_uri: str | None
    tracked: bool
    experiment: str
    report: bool
    figures: str
    names: tuple[str, ...]

    @property
    def mlruns(self) -> Path:
        """The folder that everything is written under."""
        return Path(self.root).expanduser().resolve() / "mlruns"


started: list[StartedStudy] = []
"""The studies of this process's multiruns, whose tables are still to be printed."""
