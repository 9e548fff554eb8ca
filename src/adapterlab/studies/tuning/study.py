"""A comparison of arms that are tuned alike: choose on validation, then run over seeds.

Every arm tries the same settings, as often; the best by mean validation metric is what it is
compared with. The runs among which it is chosen belong to a study of their own.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from adapterlab.base.errors import NothingFinishedError, TrialPrunedError
from adapterlab.config.tasks import LOWER_IS_BETTER, selected_on
from adapterlab.evidence.tuning import Score, best, lead, neighbours
from adapterlab.studies.planning.power import announced
from adapterlab.studies.tuning.arms import Arms
from adapterlab.studies.tuning.design import Design, Pruning, Setting, written
from adapterlab.studies.tuning.pruned import PrunedStage, first_compared, foreseen
from adapterlab.studies.tuning.run_tags import RunTags
from adapterlab.tracking.tuning_tags import (
    ARM,
    CHOSEN,
    EDGE,
    GRID,
    KEY,
    PRUNED,
    SEEDS,
    TRIALS,
    study_of_trials,
)

log = logging.getLogger(__name__)

Launch = Callable[..., Sequence[JobReturn]]
"""A launcher's `launch(job_overrides, initial_job_idx)`."""


@dataclass(frozen=True)
class Tried:
    """What came of one setting of one arm.

    Attributes:
        runs: one for each tuning seed.
    """

    runs: tuple[JobReturn, ...]

    @property
    def pruned(self) -> TrialPrunedError | None:
        """How the first run that was stopped early was; None if none was."""
        outcomes = (job._return_value for job in self.runs)
        return next((one for one in outcomes if isinstance(one, TrialPrunedError)), None)

    @property
    def values(self) -> list[float]:
        """The validation metric of every run; empty if any has failed or was stopped early."""
        done = [job.return_value for job in self.runs if job.status is JobStatus.COMPLETED]
        whole = len(done) == len(self.runs) and all(math.isfinite(value) for value in done)
        return done if whole else []

    @property
    def score(self) -> Score:
        """Their mean; None if any has failed or was stopped early."""
        return fmean(self.values) if self.values else None

    @property
    def spread(self) -> Score:
        """Their standard deviation over the tuning seeds; None with fewer than 2."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def reason(self) -> str | None:
        """Why the first run that failed did; None if none has."""
        for job in self.runs:
            if job.status is not JobStatus.COMPLETED:
                # `return_value` would raise it.
                lines = str(job._return_value).strip().splitlines()
                return lines[0] if lines else type(job._return_value).__name__
            if not math.isfinite(job.return_value):
                return f"its validation metric is {job.return_value}"
        return None


class TunedStudy:
    """The two stages of a comparison.

    Args:
        design: what is compared, and how it is tuned.
        arguments: overrides of the command line; they hold for all runs.
        config: of the sweep.
        loader: composes a run.
        launch: carries out a batch of runs.
        show: shows people what was reached with each setting, and what was chosen.

    Raises:
        ConfigError: see `Arms`.
    """

    def __init__(
        self,
        design: Design,
        arguments: Sequence[str],
        config: DictConfig,
        loader: ConfigLoader,
        launch: Launch,
        show: Callable[..., None],
    ) -> None:
        self.design, self.config, self.launch, self.show = design, config, launch, show
        self.study, self.tuning_study = config.study, study_of_trials(config.study)
        self.arms = Arms(design, arguments, config, loader)
        self.tags = RunTags(config)

    def trials(self) -> list[list[str]]:
        """Return the overrides of the runs of the first stage: arm by arm, setting by setting."""
        return [
            self.arms.job(arm, setting, seed, self.tuning_study)
            for arm in range(len(self.design.arms))
            for setting in self.design.settings
            for seed in self.design.tuning_seeds
        ]

    def carry_out(self) -> list[Sequence[JobReturn]]:
        """Tune, print what was chosen, and run it over the seeds.

        Raises:
            NothingFinishedError: all tuning runs of an arm have failed; the others are done.
            Exception: of the first run of the second stage that has failed.
        """
        self._announce()
        launched, tried = self._tune()
        if self.config.plan:
            return launched
        minimize = self.config.select_on in LOWER_IS_BETTER
        chosen = [best([one.score for one in row], minimize=minimize) for row in tried]
        self._mark_trials(tried, chosen)
        self._print(tried, chosen, minimize=minimize)
        compared = self._compare(tried, chosen, sum(map(len, launched)))
        for returned in compared:
            _ = returned.return_value  # raises what a failed run has raised
        lost = [arm for arm, place in enumerate(chosen) if place is None]
        if lost:
            named = ", ".join(f"{self.design.labels[arm]} ({tried[arm][0].reason})" for arm in lost)
            raise NothingFinishedError(
                f"all {self.design.trials} tuning runs failed, so nothing was chosen and "
                f"compared, for: {named}"
            )
        return [*launched, compared]

    def _tune(self) -> tuple[list[Sequence[JobReturn]], list[list[Tried]]]:
        """Carry out the first stage; return what was launched, and what came of every setting."""
        if self.design.pruning is None:
            launched = self.launch(self.trials(), initial_job_idx=0)
            return [launched], [] if self.config.plan else self._tried(launched)
        stage = PrunedStage(self.design, self.arms, self.config, self.launch, self.tuning_study)
        batches, rows = stage.carry_out()
        return batches, [[Tried(tuple(runs)) for runs in row] for row in rows]

    def _announce(self) -> None:
        arms, seeds = len(self.design.arms), len(self.design.seeds)
        log.info("tuning: %d runs in study %s", arms * self.design.trials, self.tuning_study)
        if self.design.pruning is not None:
            self._say_what_is_foreseen(self.design.pruning)
        log.info("then: %d arms x %d seeds in study %s", arms, seeds, self.study)
        if self.config.plan:
            announced.append((arms, seeds))

    def _say_what_is_foreseen(self, pruning: Pruning) -> None:
        """Say what the pruner may save, of which arms where that is not one for all."""
        arms: dict[str, list[str]] = {}
        for label, config in zip(self.design.labels, self.arms.first, strict=True):
            settings, first = len(self.design.settings), first_compared(config)
            arms.setdefault(foreseen(pruning, settings, config.epochs, first), []).append(label)
        for said, labels in arms.items():
            log.info("%s%s", "" if len(arms) == 1 else f"{'; '.join(labels)}: ", said)

    def _tried(self, returned: Sequence[JobReturn]) -> list[list[Tried]]:
        """Return what came of every setting, arm by arm."""
        size, settings = len(self.design.tuning_seeds), len(self.design.settings)
        tried = [Tried(tuple(returned[i : i + size])) for i in range(0, len(returned), size)]
        return [tried[i : i + settings] for i in range(0, len(tried), settings)]

    def _print(
        self, tried: Sequence[Sequence[Tried]], chosen: Sequence[int | None], *, minimize: bool
    ) -> None:
        self.show(
            self.design.labels,
            self.design.settings,
            [[one.score for one in row] for row in tried],
            chosen,
            selected_on(self.config.task, self.config.select_on),
            pruned=[[one.pruned for one in row] for row in tried],
            spreads=[[one.spread for one in row] for row in tried],
            close=[
                self._close(row, place, minimize=minimize)
                for row, place in zip(tried, chosen, strict=True)
            ],
        )

    def _close(
        self, row: Sequence[Tried], place: int | None, *, minimize: bool
    ) -> list[tuple[int, float, float]]:
        """Return neighbours of the chosen setting that it does not clearly lead.

        Each with the difference and its noise over the tuning seeds.
        """
        if place is None:
            return []
        points = [tuple(setting.values()) for setting in self.design.settings]
        found = []
        for other in neighbours(points, place):
            if row[other].score is not None:
                ahead = lead(row[place].values, row[other].values, minimize=minimize)
                if ahead.noise is not None and not ahead.clear:
                    found.append((other, ahead.difference, ahead.noise))
        return found

    def _mark_trials(self, tried: Sequence[Sequence[Tried]], chosen: Sequence[int | None]) -> None:
        """Write down what each tuning run was tried for, of failed ones as well."""
        settings = self.design.settings
        self.tags.of_trials(
            (job, self._about(arm) | _values(settings[n]) | {CHOSEN: str(n == picked).lower()})
            for arm, (row, picked) in enumerate(zip(tried, chosen, strict=True))
            for n, one in enumerate(row)
            for job in one.runs
        )

    def _about(self, arm: int) -> dict[str, str]:
        return {ARM: self.design.labels[arm], KEY: self.arms.keys[arm], GRID: self._grid}

    @property
    def _grid(self) -> str:
        return self.design.grid(self.config.select_on)

    def _compare(
        self, tried: Sequence[Sequence[Tried]], chosen: Sequence[int | None], start: int
    ) -> Sequence[JobReturn]:
        """Carry out the second stage, and mark what it replaces."""
        settings = {a: self.design.settings[p] for a, p in enumerate(chosen) if p is not None}
        if not settings:
            return []
        said = {arm: self._edges(arm, setting) for arm, setting in settings.items()}
        now = {self.arms.keys[arm]: _values(setting) for arm, setting in settings.items()}
        self.tags.supersede(self.study, now)
        jobs = [(arm, job) for arm, setting in settings.items() for job in self._runs(arm, setting)]
        compared = self.launch([job for _, job in jobs], initial_job_idx=start)
        self.tags.of_compared(
            (
                returned,
                self._about(arm)
                | said[arm]
                | now[self.arms.keys[arm]]
                | self._how_often(tried[arm]),
            )
            for (arm, _), returned in zip(jobs, compared, strict=True)
        )
        return compared

    def _how_often(self, row: Sequence[Tried]) -> dict[str, str]:
        begun = sum(len(one.runs) for one in row)
        about = {TRIALS: str(begun), SEEDS: str(len(self.design.tuning_seeds))}
        if self.design.pruning is not None:
            stopped = sum(one.pruned is not None for one in row)
            about[PRUNED] = f"{stopped} by {self.design.pruning.rule}"
        return about

    def _edges(self, arm: int, setting: Setting) -> dict[str, str]:
        """Warn where an arm's best is at the edge of what was tried; return it as a tag."""
        edges = list(self.design.edges(setting, partial(self.arms.possible, arm)))
        for edge in edges:
            other = "smaller" if "smallest" in edge else "larger"
            warnings.warn(
                f"{self.design.labels[arm]}: the best {edge}; try {other} ones too", stacklevel=2
            )
        return {EDGE: "; ".join(edges)} if edges else {}

    def _runs(self, arm: int, setting: Setting) -> Iterator[list[str]]:
        """Yield the overrides of an arm's runs of the second stage."""
        values = ",".join(f"{option}:{written(value)}" for option, value in setting.items())
        tuning = (
            f"study:{self.tuning_study},trials:{self.design.trials},chosen:{{{values}}},"
            f"key:'{self.arms.keys[arm]}',grid:'{self._grid}'"
        )
        for seed in self.design.seeds:
            yield [*self.arms.job(arm, setting, seed, self.study), f"tuning={{{tuning}}}"]


def _values(setting: Setting) -> dict[str, str]:
    """Return a setting as tags have it."""
    return {option: str(value) for option, value in setting.items()}
