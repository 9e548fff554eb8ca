"""Options of ``engine=submitit``, and what submitit is told by them."""

import shlex
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import ConfigError
from adapterlab.base.workers import cores
from adapterlab.config.validation import STRICT
from adapterlab.studies.engines.clusters.submitit_processes import import_paths

_WARNING_SECONDS = 90
"""Before the end of a job's time at which it is warned, half of it at most."""

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    """Options of ``engine=submitit``.

    Attributes:
        cluster: ``slurm``, or ``local``: processes of this machine, as Slurm would start them.
        partition: of Slurm; None for its default.
        timeout_min: minutes that a job may take; what is not done by then goes on in another.
        gpus_per_node: of a task.
        mem_gb: memory of a task's node that it may use; None for Slurm's default.
        cpus_per_task: threads of a task.
        array_parallelism: tasks that are carried out at the same time at most.
        setup: lines of a shell before a task begins.
        processes: of ``local``: tasks that are carried out at the same time.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    partition: Text | None = None
    timeout_min: Count = 240
    gpus_per_node: Annotated[int, Field(ge=0, le=1)] = 0
    mem_gb: Annotated[float, Field(gt=0)] | None = None
    cpus_per_task: Annotated[int, Field(ge=1, le=4096)] | None = None
    array_parallelism: Count = 256
    setup: list[Text] = Field(default_factory=list)
    processes: Annotated[int, Field(ge=1, le=1024)] | None = None

    def __post_init__(self) -> None:
        other = ("partition", "mem_gb") if self.cluster == "local" else ("processes",)
        for name in other:
            if (value := getattr(self, name)) is not None:
                raise ConfigError(
                    f"hydra.launcher.{name}={value} is not an option of cluster={self.cluster}"
                )


def parameters(options: Options, study: str) -> dict[str, Any]:
    """Return what submitit is told, by the names of its executors."""
    told: dict[str, Any] = {
        "signal_delay_s": min(_WARNING_SECONDS, 60 * options.timeout_min // 2),
        "gpus_per_node": options.gpus_per_node or None,
        "setup": list(options.setup),
    }
    if options.cluster == "local":
        told |= {"timeout_min": options.timeout_min}
    else:
        told |= {
            "job_name": f"adapterlab-{study}",
            "time": options.timeout_min,
            "mem": options.mem_gb and f"{round(options.mem_gb * 1024)}MB",
            "cpus_per_task": options.cpus_per_task,
            "partition": options.partition,
            "array_parallelism": options.array_parallelism,
            "additional_parameters": {"requeue": True},
            "setup": [f"export PYTHONPATH={shlex.quote(import_paths())}", *options.setup],
        }
    return {name: value for name, value in told.items() if value is not None}


def at_once(options: Options) -> int:
    """Return how many tasks ``cluster=local`` carries out at the same time."""
    if options.gpus_per_node:
        return options.processes or 1
    most = options.processes or max(cores() // (options.cpus_per_task or 1), 1)
    return min(most, options.array_parallelism)
