"""A job of a sweep: what Hydra composed, and what Hydra is told has come of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.experimental.callback import Callback
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from adapterlab.config.parsing import parse_values
from adapterlab.config.schema import Config
from adapterlab.runs.budget import is_open, parse_solved
from adapterlab.studies.sweeps.composing import SweepComposer, own_part
from adapterlab.studies.sweeps.job_returns import Returned
from adapterlab.studies.sweeps.shared_data import ReadOnce


class Job:
    """One job of a sweep, composed when somebody looks.

    Args:
        composer: of the sweep.
        master: configuration of the sweep.
        overrides: of the job.
        number: of the job.

    Attributes:
        config: its meaning, checked; set by `composed_job`.
    """

    config: Config

    def __init__(
        self, composer: SweepComposer, master: DictConfig, overrides: Sequence[str], number: int
    ) -> None:
        self.overrides, self.number = tuple(overrides), number
        self._composer, self._master = composer, master

    @cached_property
    def composed(self) -> DictConfig:
        """What Hydra composed."""
        composed = self._composer.take(self._master, self.overrides)
        with open_dict(composed):
            composed.hydra.job.id, composed.hydra.job.num = str(self.number), self.number
        return composed

    @cached_property
    def own(self) -> DictConfig:
        """The part of it that is not Hydra's."""
        return own_part(self.composed)

    @property
    def name(self) -> str:
        """What Hydra calls jobs of this program."""
        return str(self._master.hydra.job.name)

    def __str__(self) -> str:
        return " ".join(filter_overrides(self.overrides))


def composed_job(
    composer: SweepComposer,
    config: DictConfig,
    overrides: Sequence[str],
    number: int,
    data: ReadOnce,
    said: set[str],
) -> Job:
    """Return a job, checked; one that is alike to another is not composed for it.

    Args:
        composer: composes jobs.
        config: of the sweep.
        overrides: of the job.
        number: of the job.
        data: reads data, where a budget hangs on them.
        said: what has been said of budgets.

    Raises:
        ConfigError: an option is wrong.
    """
    job = Job(composer, config, overrides, number)
    if (known := composer.values(overrides)) is not None:
        job.config = parse_values(*known)
        if not is_open(job.config):
            return job
    with _hydra_at(job.composed):
        job.config = parse_solved(job.own, data, said)
    return job


@contextmanager
def _hydra_at(composed: DictConfig) -> Iterator[None]:
    """Let Hydra's own configuration be a job's."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(composed)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


def is_told(context: HydraContext, event: str) -> bool:
    """Say whether a callback does something at an event of a job: each has it composed."""
    callbacks = context.callbacks.callbacks
    return any(getattr(type(one), event, None) is not getattr(Callback, event) for one in callbacks)


def job_return(job: Job, outcome: Any) -> JobReturn:
    """Return what Hydra's own launcher would of a job, by its result or its exception."""
    returned = Returned()
    returned.overrides = list(job.overrides)
    returned.look_at(job)
    returned.task_name = job.name
    returned.working_dir = str(Path.cwd())
    if isinstance(outcome, Exception):
        returned.return_value, returned.status = outcome, JobStatus.FAILED
        return returned
    value = outcome.metrics[f"best/val_{job.config.select_on}"]
    returned.return_value, returned.status = value, JobStatus.COMPLETED
    return returned
