"""A job of a sweep: what Hydra composed, and what Hydra is told has come of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from omegaconf import DictConfig, OmegaConf, open_dict

from adapterlab.config.schema import Config
from adapterlab.runs.budget import parse_solved
from adapterlab.studies.composing import own_part
from adapterlab.studies.read_once import ReadOnce
from adapterlab.studies.returned import Returned

Compose = Callable[[DictConfig, Sequence[str]], DictConfig]
"""Returns the configuration of a job from that of its sweep and its overrides."""


@dataclass(frozen=True)
class Job:
    """One job of a sweep: what Hydra composed, the part of it that is not Hydra's, its meaning."""

    overrides: tuple[str, ...]
    composed: DictConfig
    own: DictConfig
    config: Config

    def __str__(self) -> str:
        return " ".join(filter_overrides(self.overrides))


def composed_job(
    compose: Compose,
    config: DictConfig,
    overrides: Sequence[str],
    number: int,
    data: ReadOnce,
    said: set[str],
) -> Job:
    """Compose a job, and check it.

    Args:
        compose: does so.
        config: of the sweep.
        overrides: of the job.
        number: of the job.
        data: reads data, where a budget hangs on them.
        said: what has been said of budgets.

    Raises:
        ConfigError: an option is wrong.
    """
    composed = compose(config, overrides)
    with open_dict(composed):
        composed.hydra.job.id, composed.hydra.job.num = str(number), number
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(composed)
    try:
        own = own_part(composed)
        return Job(tuple(overrides), composed, own, parse_solved(own, data, said))
    finally:
        HydraConfig.instance().cfg = before


def job_return(job: Job, outcome: Any) -> JobReturn:
    """Return what Hydra's own launcher would of a job, by its result or its exception."""
    returned = Returned()
    returned.overrides = list(job.overrides)
    returned.cfg = job.own
    returned.hydra_cfg = OmegaConf.masked_copy(job.composed, ["hydra"])
    returned.task_name = job.composed.hydra.job.name
    returned.working_dir = str(Path.cwd())
    if isinstance(outcome, Exception):
        returned.return_value, returned.status = outcome, JobStatus.FAILED
        return returned
    value = outcome.metrics[f"best/val_{job.config.select_on}"]
    returned.return_value, returned.status = value, JobStatus.COMPLETED
    return returned
