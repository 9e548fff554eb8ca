"""``hydra/sweeper=sequential``. Hydra imports this at every start: what it needs it loads later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from adapterlab.studies.sweeps.sweeper import LaunchingSweeper


@dataclass
class SequentialSweeperConf:
    """Options of the sweeper.

    Attributes:
        arms: the overrides of each, in one string: ``adapter=lora adapter.rank=8``; empty for the
            product of what is swept, as with Hydra's own sweeper.
        looks: seeds an arm at which the arms are compared.
        max_seeds: the most seeds an arm; None for the last look.
        level: the share of studies with a false difference, over all looks.
        margin: points of accuracy that do not matter: arms this close need no more seeds.
        spending: how the level is spent, pocock (early looks can decide) or obrien_fleming (the
            last look has most of it).
        params: sweeps of an experiment.
    """

    _target_: str = (
        "hydra_plugins.adapterlab_sequential_sweeper.sequential_sweeper.SequentialSweeper"
    )
    # Without types, of which Hydra would only say that an override cannot be merged:
    # `studies.launching.checked_options` says what is wrong with a value.
    arms: Any = field(default_factory=list)
    looks: Any = field(default_factory=lambda: [3, 5, 8, 10, 15, 20])
    max_seeds: Any = None
    level: Any = 0.05
    margin: Any = 0.5
    spending: Any = "pocock"
    params: Any = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="sequential", node=SequentialSweeperConf, provider="adapterlab"
)


class SequentialSweeper(LaunchingSweeper):
    """Adds seeds to the arms that are left, look by look; see `studies.sequential.study`."""

    def __init__(
        self,
        arms: Sequence[str],
        looks: Sequence[int],
        max_seeds: int | None,
        level: float,
        margin: float,
        spending: str,
        params: Mapping[str, str] | None,
    ) -> None:
        self.arms, self.params = list(arms), dict((params or {}).items())
        self.looks, self.max_seeds = list(looks), max_seeds
        self.level, self.margin, self.spending = level, margin, spending

    def carry_out(self, arguments: list[str]) -> Any:
        """Add seeds until the study is certain, or its budget is spent."""
        from adapterlab.studies.sequential.study import TAKEN, Design, SequentialStudy
        from adapterlab.studies.sweeps.arms import Arms

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        design = Design.of(self.looks, self.max_seeds, self.level, self.margin, self.spending)
        loader = self.hydra_context.config_loader
        arms = Arms(self.arms, arguments, self.params, self.config, loader, TAKEN)
        study = SequentialStudy(design, arms, self.config, self.launcher.launch)
        arms.require_comparable("seed=0")
        self.validate_batch_is_legal([line for _, _, line in study.jobs(0, arms.labels)])
        return study.carry_out()
