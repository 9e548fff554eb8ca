"""``hydra/launcher=packed``. Hydra imports this at every start, so what it needs it loads later."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class PackedLauncherConf:
    """Options of the launcher.

    Attributes:
        processes: that work at once; None for as many as there are cores.
        memory_gib: that a pack may take; None for most of what is free.
    """

    _target_: str = "hydra_plugins.adapterlab_packed_launcher.packed_launcher.PackedLauncher"
    # Without types, of which Hydra would only say that an override cannot be merged:
    # `studies.options` says what is wrong with a value.
    processes: Any = None
    memory_gib: Any = None


ConfigStore.instance().store(
    group="hydra/launcher", name="packed", node=PackedLauncherConf, provider="adapterlab"
)


class PackedLauncher(Launcher):
    """Trains the jobs of a sweep in packs; see `adapterlab.studies.launch`."""

    def __init__(self, processes: int | None, memory_gib: float | None) -> None:
        self.processes, self.memory_gib = processes, memory_gib

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives a launcher; its sweeper composes by the same loader."""
        from adapterlab.studies.composing import SweepComposer

        self.loader = SweepComposer(hydra_context.config_loader)
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
        from adapterlab.app import console
        from adapterlab.studies.launch import launch

        return launch(
            self.context,
            self.loader.take,
            self.task_function,
            self.config,
            job_overrides,
            initial_job_idx,
            processes=self.processes,
            memory_gib=self.memory_gib,
            output=console,
        )
