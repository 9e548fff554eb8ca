"""What a launcher returns of a job, composed when somebody looks and without a line from Hydra."""

from typing import Any, Protocol

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf


class Composed(Protocol):
    """A job that can say how it was composed."""

    @property
    def composed(self) -> DictConfig:
        """What Hydra composed."""

    @property
    def own(self) -> DictConfig:
        """The part of it that is not Hydra's."""


class Returned(JobReturn):
    """Hydra's `JobReturn`, which writes to stderr whenever a sweeper looks at a failed job.

    That the job failed, and why, has been said once by then. Few sweepers look at how a job was
    composed, and composing takes longer than all else of a job that had finished.
    """

    _job: Composed | None = None
    _cfg: DictConfig | None
    _hydra_cfg: DictConfig | None

    def look_at(self, job: Composed) -> None:
        """Take both configurations from a job, when they are asked for."""
        self._job = job

    @property
    def return_value(self) -> Any:
        """What the job returned.

        Raises:
            Exception: what a failed job raised.
        """
        if self.status is JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value

    @property
    def cfg(self) -> DictConfig | None:
        """What Hydra composed, but for its own part."""
        if self._cfg is None and self._job is not None:
            self._cfg = self._job.own
        return self._cfg

    @cfg.setter
    def cfg(self, config: DictConfig | None) -> None:
        self._cfg = config

    @property
    def hydra_cfg(self) -> DictConfig | None:
        """Hydra's own part."""
        if self._hydra_cfg is None and self._job is not None:
            self._hydra_cfg = OmegaConf.masked_copy(self._job.composed, ["hydra"])
        return self._hydra_cfg

    @hydra_cfg.setter
    def hydra_cfg(self, config: DictConfig | None) -> None:
        self._hydra_cfg = config

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to another process: both configurations, and no job."""
        return {**vars(self), "_cfg": self.cfg, "_hydra_cfg": self.hydra_cfg, "_job": None}
