"""``hydra/sweeper=union``. Hydra imports this at every start, so what it needs it loads later."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from adapterlab.studies.sweeps.sweeper import LaunchingSweeper


@dataclass
class UnionSweeperConf:
    """Options of the sweeper.

    Attributes:
        sweeps: the overrides of each sweep, in one string: ``init_seed=1,2 epochs=5``.
    """

    _target_: str = "hydra_plugins.adapterlab_union_sweeper.union_sweeper.UnionSweeper"
    sweeps: Any = field(
        default_factory=list
    )  # `studies.launching.checked_options` says what is wrong with it


ConfigStore.instance().store(
    group="hydra/sweeper", name="union", node=UnionSweeperConf, provider="adapterlab"
)


class UnionSweeper(LaunchingSweeper):
    """Runs several sweeps as one, where all combinations would be too many."""

    def __init__(self, sweeps: Sequence[str]) -> None:
        self.sweeps = list(sweeps)

    def carry_out(self, arguments: list[str]) -> Any:
        """Run the jobs of all sweeps as one batch."""
        from adapterlab.studies.sweeps.union import jobs_of

        assert self.hydra_context is not None
        assert self.launcher is not None
        jobs = jobs_of(self.sweeps, arguments, self.hydra_context.config_loader)
        self.validate_batch_is_legal(jobs)
        returned = self.launcher.launch(jobs, initial_job_idx=0)
        for job in returned:
            _ = job.return_value  # raises what a failed run has raised
        return [returned]
