"""A comparison of arms that are tuned alike: choose on validation, then run over seeds.

Every arm tries the same settings, as often; the best by mean validation metric is what it is
compared with. The runs among which it is chosen belong to a study of their own.
"""

import itertools
import json
import logging
import math
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from adapterlab.console import print_tuning
from adapterlab.errors import ConfigError, NothingFinishedError

log = logging.getLogger(__name__)

Launch = Callable[..., Sequence[JobReturn]]
"""A launcher's `launch(job_overrides, initial_job_idx)`."""

Setting = dict[str, Any]
"""A value for every option that is tuned."""

Score = float | None
"""A mean validation metric; None where a run failed."""

OWN = ("seed", "study", "tuning", "plan", "resume")
"""Options that an arm does not set: they belong to the study or to the sweeper."""


@dataclass(frozen=True)
class Design:
    """What is compared, and how it is tuned.

    Attributes:
        arms: overrides of each arm.
        tune: values to try by option, numbers in ascending order.
        tuning_seeds: of the runs among which is chosen.
        seeds: of the runs that are compared.
    """

    arms: tuple[tuple[str, ...], ...]
    tune: Mapping[str, tuple[Any, ...]]
    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(
        cls,
        arms: Sequence[str],
        tune: Mapping[str, Any],
        tuning_seeds: Sequence[int],
        seeds: Sequence[int],
    ) -> "Design":
        """Check the sweeper's options.

        Raises:
            ConfigError: there is nothing to compare or to tune, or a seed is below 0.
        """
        if not arms:
            raise ConfigError(
                "hydra.sweeper.arms is empty; such as "
                '\'hydra.sweeper.arms=["adapter=full","adapter=lora adapter.rank=8"]\''
            )
        if not tune:
            raise ConfigError(
                "hydra.sweeper.tune is empty; such as "
                "'hydra.sweeper.tune={optimizer.lr:[1e-4,1e-3,1e-2]}'"
            )
        for name, values in (("tuning_seeds", tuning_seeds), ("seeds", seeds)):
            if not values or min(values) < 0 or len(set(values)) < len(values):
                raise ConfigError(
                    f"hydra.sweeper.{name}={list(values)} should be different seeds, 0 or more"
                )
        return cls(
            tuple(tuple(shlex.split(arm)) for arm in arms),
            {name: _ascending(name, values) for name, values in tune.items()},
            tuple(tuning_seeds),
            tuple(seeds),
        )

    @property
    def settings(self) -> list[Setting]:
        """All combinations of the values, the smaller ones first."""
        return [
            dict(zip(self.tune, point, strict=True))
            for point in itertools.product(*self.tune.values())
        ]

    @property
    def trials(self) -> int:
        """Runs that every arm is tuned with."""
        return len(self.settings) * len(self.tuning_seeds)

    def edges(self, setting: Setting) -> Iterator[str]:
        """Say of each number of a setting that is the smallest or largest tried that it is."""
        for option, values in self.tune.items():
            value = setting[option]
            if len(values) < 2 or not _is_number(value) or value not in (values[0], values[-1]):
                continue
            which, other = ("smallest", "smaller") if value == values[0] else ("largest", "larger")
            yield f"the best {option}={value} is the {which} that was tried; try {other} ones too"


def best(scores: Sequence[Score], *, minimize: bool) -> int | None:
    """Return the place of the best score, the first of equal ones; None if there is none."""
    places = [place for place, score in enumerate(scores) if score is not None]
    sign = 1 if minimize else -1
    return min(places, key=lambda place: sign * (scores[place] or 0.0), default=None)


def score(returned: Sequence[JobReturn]) -> Score:
    """Return the mean of what runs of one setting have returned; None if any has failed."""
    values = [job.return_value for job in returned if job.status is JobStatus.COMPLETED]
    if len(values) < len(returned) or not all(math.isfinite(value) for value in values):
        return None
    return fmean(values)


class TunedStudy:
    """The two stages of a comparison.

    Args:
        design: what is compared, and how it is tuned.
        arguments: overrides of the command line; they hold for all runs.
        config: of the sweep.
        loader: composes a run.
        launch: carries out a batch of runs.

    Raises:
        ConfigError: an override sweeps by itself, or sets what is not its to set.
    """

    def __init__(
        self,
        design: Design,
        arguments: Sequence[str],
        config: DictConfig,
        loader: ConfigLoader,
        launch: Launch,
    ) -> None:
        self.design, self.config, self.loader, self.launch = design, config, loader, launch
        self.study, self.tuning_study = config.study, f"{config.study}-tuning"
        parser = OverridesParser.create(config_loader=loader)
        given = parser.parse_overrides(list(arguments))
        self.arms = [parser.parse_overrides(list(arm)) for arm in design.arms]
        for override in given:
            self._require_plain(override)
            if override.key_or_group in ("seed", *design.tune):
                where = "seeds" if override.key_or_group == "seed" else "tune"
                raise ConfigError(
                    f"{override.input_line}: {override.key_or_group} comes from "
                    f"hydra.sweeper.{where}"
                )
        for override in itertools.chain(*self.arms):
            self._require_plain(override)
            if override.key_or_group in (*OWN, "select_on", *design.tune):
                raise ConfigError(
                    f"hydra.sweeper.arms: {override.input_line} is the same for all arms"
                )
        self.common = self._common([o for o in given if o.key_or_group != "study"])

    @staticmethod
    def _require_plain(override: Override) -> None:
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.input_line}: with hydra/sweeper=tuned what varies is in "
                "hydra.sweeper.arms, tune and seeds; give one value here"
            )

    def _common(self, given: Sequence[Override]) -> list[list[str]]:
        """Return for each arm the overrides of the command line that it takes.

        What an arm chooses itself goes before them. An option that what it chooses does not have,
        as there are no `base.epochs` with base=scratch, is left out.

        Raises:
            ConfigError: no arm has an option.
        """
        kept: list[list[str]] = []
        lacking: dict[str, list[str]] = {}
        for label, arm in zip(self._labels(), self.arms, strict=True):
            takes = self._takes(arm, given)
            kept.append([str(o.input_line) for o, fits in takes if fits])
            for override, fits in takes:
                if not fits:
                    lacking.setdefault(str(override.input_line), []).append(label)
        for line, labels in lacking.items():
            if not any(line in lines for lines in kept):
                raise ConfigError(f"{line}: no arm has this option")
            log.info("%s does not apply to %s", line, ", ".join(labels))
        return kept

    def _takes(
        self, arm: Sequence[Override], given: Sequence[Override]
    ) -> list[tuple[Override, bool]]:
        """Say of the overrides that an arm leaves open whether it has such options."""
        own = {override.key_or_group for override in arm}
        chosen = own.intersection(self.loader.list_groups(""))
        rest = [override for override in given if override.key_or_group not in own]
        inside = [o for o in rest if _first(o) in chosen and not o.is_add()]
        if not inside:
            return [(override, True) for override in rest]
        sure = [str(o.input_line) for o in (*rest, *arm) if o not in inside]
        composed = self.loader.load_sweep_config(self.config, sure)
        return [(o, o not in inside or _has(composed, o)) for o in rest]

    def trials(self) -> list[list[str]]:
        """Return the overrides of the runs of the first stage: arm by arm, setting by setting."""
        return [
            self._job(arm, setting, seed, self.tuning_study)
            for arm in range(len(self.arms))
            for setting in self.design.settings
            for seed in self.design.tuning_seeds
        ]

    def _job(self, arm: int, setting: Setting, seed: int, study: str) -> list[str]:
        values = [f"{option}={_written(value)}" for option, value in setting.items()]
        fixed = [f"seed={seed}", f"study={study}"]
        return [*self.common[arm], *self.design.arms[arm], *values, *fixed]

    def carry_out(self) -> list[Sequence[JobReturn]]:
        """Tune, print what was chosen, and run it over the seeds.

        Raises:
            NothingFinishedError: all tuning runs of an arm have failed; the others are done.
            Exception: of the first run of the second stage that has failed.
        """
        first = self.trials()
        self._announce(len(first))
        tuned = self.launch(first, initial_job_idx=0)
        if self.config.plan:
            return [tuned]
        scores = self._scores(tuned)
        minimize = self.config.select_on == "loss"
        chosen = [best(row, minimize=minimize) for row in scores]
        print_tuning(self._labels(), self.design.settings, scores, chosen, self.config.select_on)
        lost = [label for label, place in zip(self._labels(), chosen, strict=True) if place is None]
        second = list(self._compared(chosen))
        compared = self.launch(second, initial_job_idx=len(first)) if second else []
        for returned in compared:
            _ = returned.return_value  # raises what a failed run has raised
        if lost:
            raise NothingFinishedError(
                f"all {self.design.trials} tuning runs failed, so nothing was chosen and "
                f"compared, for: {', '.join(lost)}"
            )
        return [tuned, compared]

    def _announce(self, trials: int) -> None:
        arms, seeds = len(self.arms), len(self.design.seeds)
        log.info("tuning: %d runs in study %s", trials, self.tuning_study)
        log.info("then: %d arms x %d seeds in study %s", arms, seeds, self.study)

    def _labels(self) -> list[str]:
        return [" ".join(arm) for arm in self.design.arms]

    def _scores(self, returned: Sequence[JobReturn]) -> list[list[Score]]:
        """Return a score for each arm and setting."""
        size = len(self.design.tuning_seeds)
        scores = [score(returned[i : i + size]) for i in range(0, len(returned), size)]
        settings = len(self.design.settings)
        return [scores[i : i + settings] for i in range(0, len(scores), settings)]

    def _compared(self, chosen: Sequence[int | None]) -> Iterator[list[str]]:
        """Yield the overrides of the runs of the second stage."""
        for arm, place in enumerate(chosen):
            if place is None:
                continue
            setting = self.design.settings[place]
            for said in self.design.edges(setting):
                warnings.warn(f"{self._labels()[arm]}: {said}", stacklevel=2)
            values = ",".join(f"{option}:{_written(value)}" for option, value in setting.items())
            tuning = f"study:{self.tuning_study},trials:{self.design.trials},chosen:{{{values}}}"
            for seed in self.design.seeds:
                yield [*self._job(arm, setting, seed, self.study), f"tuning={{{tuning}}}"]


def _ascending(option: str, values: Any) -> tuple[Any, ...]:
    """Return the values of an option, numbers in ascending order."""
    values = OmegaConf.to_object(values) if OmegaConf.is_config(values) else values
    if not isinstance(values, list) or not values:
        raise ConfigError(f"hydra.sweeper.tune: {option}={values} should be a list of values")
    return tuple(sorted(values) if all(_is_number(value) for value in values) else values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _written(value: Any) -> str:
    """Return a value as an override says it."""
    return value if isinstance(value, str) else json.dumps(value)


def _first(override: Override) -> str:
    return str(override.key_or_group).partition(".")[0]


def _has(composed: DictConfig, override: Override) -> bool:
    """Say whether a configuration has the option of an override."""
    parent, _, name = str(override.key_or_group).rpartition(".")
    node = OmegaConf.select(composed, parent)
    return isinstance(node, DictConfig) and name in node
