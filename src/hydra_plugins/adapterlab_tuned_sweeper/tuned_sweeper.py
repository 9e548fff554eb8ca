"""``hydra/sweeper=tuned``. Hydra imports this at every start, so what it needs it loads later."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from adapterlab.studies.sweeps.sweeper import LaunchingSweeper


@dataclass
class TunedSweeperConf:
    """Options of the sweeper.

    Attributes:
        arms: the overrides of each, in one string: ``adapter=lora adapter.rank=8``.
        tune: the values to try, by option; the same for every arm.
        tuning_seeds: seeds of the runs among which values are chosen.
        seeds: seeds of the runs that are compared.
        pruner: what stops runs of the first stage early, ``median`` or ``successive_halving``, or
            its ``name`` with options of Optuna's; None for nothing.
        lanes: of a pack, in which runs take the places of those that were stopped; None for as
            many as memory has room for.
    """

    _target_: str = "hydra_plugins.adapterlab_tuned_sweeper.tuned_sweeper.TunedSweeper"
    # Without types, of which Hydra would only say that an override cannot be merged: `Design.of`
    # says what is wrong with a value.
    arms: Any = field(default_factory=list)
    tune: Any = None
    tuning_seeds: Any = field(default_factory=lambda: [1000])
    seeds: Any = field(default_factory=lambda: [0, 1, 2, 3, 4])
    pruner: Any = None
    lanes: Any = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="tuned", node=TunedSweeperConf, provider="adapterlab"
)


class TunedSweeper(LaunchingSweeper):
    """Tunes the arms of a comparison on validation, then runs them; see `studies.tuning.study`."""

    def __init__(
        self,
        arms: Any,
        tune: Any,
        tuning_seeds: Any,
        seeds: Any,
        pruner: Any = None,
        lanes: Any = None,
    ) -> None:
        self.arms, self.tune = arms, tune
        self.pruner, self.lanes = pruner, lanes
        self.tuning_seeds, self.seeds = tuning_seeds, seeds

    def carry_out(self, arguments: list[str]) -> Any:
        """Tune, choose, and run what was chosen."""
        from adapterlab.studies.tuning.design import Design

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        design = Design.of(
            self.arms, self.tune, self.tuning_seeds, self.seeds, self.pruner, self.lanes
        )
        from adapterlab.app.console import print_tuning  # what is wrong above is said at once
        from adapterlab.studies.tuning.study import TunedStudy

        study = TunedStudy(
            design,
            arguments,
            self.config,
            self.hydra_context.config_loader,
            self.launcher.launch,
            show=print_tuning,
        )
        self.validate_batch_is_legal(study.trials())
        return study.carry_out()
