"""The first stage of a tuned comparison whose trials may be stopped early.

The first tuning seed decides which settings go on: its runs are rivals within their arm, begun in
an order that is drawn, so that the first ones are not the smallest values. What it has not stopped
runs with the other seeds, to the end.
"""

import contextlib
import itertools
import logging
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from adapterlab.base.errors import AdapterLabError, TrialPrunedError
from adapterlab.config.schema import Config
from adapterlab.runs.sketch import make_strategy
from adapterlab.runs.trial_pruner import journals
from adapterlab.studies.tuning.arms import Arms
from adapterlab.studies.tuning.design import Design, Pruning

log = logging.getLogger(__name__)

_STEPS = 1000
"""Of an epoch, where it is foreseen which epochs a method lets be compared."""


class PrunedStage:
    """Trials of all arms, of which some are stopped early.

    Args:
        design: what is tried, and by which pruner.
        arms: of the comparison.
        config: of the sweep.
        launch: carries out a batch of runs.
        study: of the trials.
    """

    def __init__(
        self,
        design: Design,
        arms: Arms,
        config: DictConfig,
        launch: Callable[..., Sequence[JobReturn]],
        study: str,
    ) -> None:
        assert design.pruning is not None
        self.design, self.arms, self.config, self.launch = design, arms, config, launch
        self.pruning, self.study = design.pruning, study

    def carry_out(self) -> tuple[list[Sequence[JobReturn]], list[list[list[JobReturn]]]]:
        """Carry the trials out.

        Returns:
            What was launched, and the runs of every setting, arm by arm; nothing of a plan.
        """
        places = self._places()
        first, *others = self.design.tuning_seeds
        jobs = [[*self._job(place, first), self._told(place[0])] for place in places]
        if not (self.config.plan or self.config.resume):
            folder = journals(Path(self.config.root) / "mlruns", self.study)
            shutil.rmtree(folder, ignore_errors=True)
        launched = [self.launch(jobs, initial_job_idx=0)]
        if self.config.plan:
            return launched, []
        runs = {place: [job] for place, job in zip(places, launched[0], strict=True)}
        self._say(launched[0])
        left = [place for place in sorted(places) if _is_done(runs[place][0])]
        if others and left:
            more = [(place, seed) for place in left for seed in others]
            jobs = [self._job(place, seed) for place, seed in more]
            launched.append(self.launch(jobs, initial_job_idx=len(places)))
            for (place, _), job in zip(more, launched[1], strict=True):
                runs[place].append(job)
        arms, settings = range(len(self.design.arms)), range(len(self.design.settings))
        return launched, [[runs[arm, n] for n in settings] for arm in arms]

    def _places(self) -> list[tuple[int, int]]:
        """Return arms and settings in the order in which they are begun: arm by arm."""
        settings = list(range(len(self.design.settings)))
        random.Random(0).shuffle(settings)
        return [(arm, n) for arm in range(len(self.design.arms)) for n in settings]

    def _job(self, place: tuple[int, int], seed: int) -> list[str]:
        arm, number = place
        return self.arms.job(arm, self.design.settings[number], seed, self.study)

    def _told(self, arm: int) -> str:
        return self.pruning.told(self.arms.keys[arm])

    def _say(self, launched: Sequence[JobReturn]) -> None:
        """Say what was stopped, and what that has saved."""
        found = [job._return_value for job in launched]
        stopped = [one for one in found if isinstance(one, TrialPrunedError)]
        epochs = len(launched) * max((one.epochs for one in stopped), default=0)
        saved = sum(one.epochs - one.epoch for one in stopped)
        share = f": {saved} of {epochs} epochs saved ({saved / epochs:.0%})" if epochs else ""
        log.info("%d of %d runs pruned by %s%s", len(stopped), len(found), self.pruning.rule, share)


def first_compared(config: Config) -> int:
    """Return the first epoch by which a trial is compared: 1, or later of what has to settle.

    An epoch is taken to have many steps: only the data say how many it has.
    """
    with contextlib.suppress(AdapterLabError):  # whoever trains it says what is wrong
        strategy, total = make_strategy(config), _STEPS * config.epochs
        if strategy.uses("settled"):
            epochs = range(1, config.epochs)
            return next((n for n in epochs if strategy.settled(_STEPS * n, total)), config.epochs)
    return 1


def foreseen(pruning: Pruning, trials: int, epochs: int, first: int = 1) -> str:
    """Say what a pruner may save, before anything is trained.

    Args:
        pruning: the pruner.
        trials: of an arm.
        epochs: of a trial.
        first: of them by which trials are compared.
    """
    options = pruning.options
    on = f", compared from epoch {first} on," if first > 1 else ""
    if pruning.rule == "median":
        free = options.get("n_startup_trials", 5)
        least = max(options.get("n_warmup_steps", 0), first)
        most = max(trials - free, 0) / trials * max(epochs - least, 0) / epochs
        return (
            f"pruner=median may stop trials of an arm{on} after {free} have ended: at most "
            f"{most:.0%} of the epochs are saved"
        )
    least, by = options.get("min_resource", 1), options.get("reduction_factor", 4)
    if not isinstance(least, int):
        return f"pruner=successive_halving may stop trials of an arm{on} after one has ended"
    rungs, rung = [], least * by ** options.get("min_early_stopping_rate", 0)
    while max(rung, first) < epochs:  # what comes later is judged by all rungs that it has passed
        rungs.append(max(rung, first))
        rung *= by
    if not rungs:
        return f"pruner=successive_halving stops no trial of {epochs} epochs{on.rstrip(',')}"
    ends = [*rungs, epochs]
    left = ends[0] + sum(
        (end - start) * max(by**-n, 1 / trials)
        for n, (start, end) in enumerate(itertools.pairwise(ends), 1)
    )
    after = ", ".join(map(str, dict.fromkeys(rungs)))
    return (
        f"pruner=successive_halving lets about 1 in {by} trials of an arm{on} go on after each of "
        f"the epochs {after}: about {1 - left / epochs:.0%} of the epochs are saved"
    )


def _is_done(job: JobReturn) -> bool:
    return job.status is JobStatus.COMPLETED
