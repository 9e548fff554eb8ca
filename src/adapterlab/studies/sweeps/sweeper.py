"""What the project's sweepers share. Hydra's plugins import this at every start: nothing heavy."""

from abc import abstractmethod
from typing import Any, cast

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from adapterlab.base.planned_place import planned_for


class LaunchingSweeper(Sweeper):
    """A sweeper that carries out its runs by the launcher that the configuration names."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives a sweeper, and make the launcher, which composes by one loader."""
        from adapterlab.studies.sweeps.composing import SweepComposer

        hydra_context.config_loader = cast(Any, SweepComposer.around(hydra_context.config_loader))
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Carry out the study, planned for where its launcher has runs carried out."""
        from adapterlab.runs.sketch import sketched_once  # loads torch

        place = getattr(self.launcher, "place", None)
        with sketched_once(), planned_for(place() if place is not None else None):
            return self.carry_out(arguments)

    @abstractmethod
    def carry_out(self, arguments: list[str]) -> Any:
        """Carry out the study.

        Args:
            arguments: overrides of the command line.
        """
