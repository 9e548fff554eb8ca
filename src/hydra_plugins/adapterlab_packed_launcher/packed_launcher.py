"""``hydra/launcher=packed``. Hydra imports this at every start, so what it needs it loads later."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:  # loads pydantic and more
    from adapterlab.base.planned_place import Place
    from adapterlab.studies.launching.options import Launching


@dataclass
class PackedLauncherConf:
    """Options of the launcher; None stands for one that was not given.

    Attributes:
        engine: what carries packs out: see `adapterlab.studies.engines`, one file each.
        wait: for the tasks to end; false submits them and ends.
        memory_gib: that a pack may take; None for most of what there is.
        nodes: of a cluster that are free: packs are split so that all have something to do.
        node: what the engine's nodes offer a task, instead of asking the engine: `memory_gib` of
            the device, `cores`, `gpu`.
        processes: of ``local``, and of others on this machine: that work at once.
        cluster: of ``submitit``: ``slurm``, or ``local`` to try it out on this machine.
        partition: of Slurm.
        timeout_min: minutes that a task may take; what is not done by then goes on in another.
        gpus_per_node: of a task.
        mem_gb: of a task, the node's own memory.
        cpus_per_task: its threads.
        array_parallelism: tasks that Slurm may carry out at the same time.
        setup: lines of a shell, before a task begins.
        address: of ``ray`` and ``dask``: of a running cluster; None starts one on this machine.
    """

    _target_: str = "hydra_plugins.adapterlab_packed_launcher.packed_launcher.PackedLauncher"
    # Without types, of which Hydra would only say that an override cannot be merged:
    # `studies.launching.options` says what is wrong with a value.
    engine: Any = "local"
    wait: Any = True
    memory_gib: Any = None
    nodes: Any = None
    node: Any = field(default_factory=lambda: {"memory_gib": None, "cores": None, "gpu": None})
    processes: Any = None
    cluster: Any = None
    partition: Any = None
    timeout_min: Any = None
    gpus_per_node: Any = None
    mem_gb: Any = None
    cpus_per_task: Any = None
    array_parallelism: Any = None
    setup: Any = None
    address: Any = None


ConfigStore.instance().store(
    group="hydra/launcher", name="packed", node=PackedLauncherConf, provider="adapterlab"
)


class PackedLauncher(Launcher):
    """Trains the jobs of a sweep in packs; see `adapterlab.studies.launching.launch`."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives a launcher; its sweeper composes by the same loader."""
        from adapterlab.studies.sweeps.composing import SweepComposer

        self.loader = SweepComposer.around(hydra_context.config_loader)
        hydra_context.config_loader = cast(Any, self.loader)
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Carry out a batch of jobs."""
        own = self.config
        if own.tracking.enabled and own.tracking.uri is None and not own.plan:
            from adapterlab.tracking.client import set_up_beside

            set_up_beside(Path(own.root) / "mlruns")  # takes a second, as what comes next does
        from adapterlab.app import packs
        from adapterlab.studies.launching.launch import launch

        return launch(
            self.context,
            self.loader,
            self.task_function,
            self.config,
            job_overrides,
            initial_job_idx,
            chosen=self._chosen(),
            output=packs,
        )

    def place(self) -> "Place | None":
        """Return where packs are carried out; None for this machine."""
        return self._chosen().place()

    def _chosen(self) -> "Launching":
        from adapterlab.studies.launching.options import launching

        values: Any = OmegaConf.to_container(OmegaConf.create(self.options), resolve=True)
        return launching(values)
