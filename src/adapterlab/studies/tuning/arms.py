"""The arms of a tuned comparison: what each takes of the command line, and what its runs are."""

import itertools
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config
from adapterlab.runs.check import check
from adapterlab.runs.identity import config_hash
from adapterlab.studies.sweeps.arm_options import given_to_each, has_option
from adapterlab.studies.sweeps.composing import own_part
from adapterlab.studies.tuning.design import Design, Setting, digest, written
from adapterlab.tracking.tuning_tags import study_of_trials

OWN = ("seed", "study", "tuning", "trial_pruner", "plan", "resume")
"""Options that an arm does not set: they belong to the study or to the sweeper."""

KEPT = (
    *(*OWN, "report", "mlflow_model", "figures", "pack", "root", "data_dir"),
    *("tracking", "hardware"),
)
"""Options of the command line that do not make another arm."""


class Arms:
    """The arms of a design, on a command line.

    Attributes:
        keys: of each arm 12 hex digits for what it is, whatever is tried with it.

    Args:
        design: what is compared, and how it is tuned.
        arguments: overrides of the command line; they hold for all runs.
        config: of the sweep.
        loader: composes a run.

    Raises:
        ConfigError: an override sweeps by itself or sets what is not its to set, two arms are the
            same runs, or an arm lacks an option that is tuned.
    """

    def __init__(
        self,
        design: Design,
        arguments: Sequence[str],
        config: DictConfig,
        loader: ConfigLoader,
    ) -> None:
        self.design, self.config, self.loader = design, config, loader
        self._study = study_of_trials(config.study)
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
        rest = [o for o in given if o.key_or_group != "study"]
        self.common = given_to_each(design.labels, self.arms, rest, config, loader)
        self.keys = [self._key(arm) for arm in range(len(self.arms))]
        self.first = self._different_that_have_what_is_tuned()

    def job(self, arm: int, setting: Setting, seed: int, study: str) -> list[str]:
        """Return the overrides of a run of an arm."""
        values = [f"{option}={written(value)}" for option, value in setting.items()]
        fixed = [f"seed={seed}", f"study={study}"]
        return [*self.common[arm], *self.design.arms[arm], *values, *fixed]

    def possible(self, arm: int, setting: Setting) -> bool:
        """Say whether an arm could be run with a setting."""
        try:
            check(self.composed(self.job(arm, setting, 0, self._study)))
        except AdapterLabError:
            return False
        return True

    @staticmethod
    def _require_plain(override: Override) -> None:
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.input_line}: with hydra/sweeper=tuned what varies is in "
                "hydra.sweeper.arms, tune and seeds; give one value here"
            )

    def _key(self, arm: int) -> str:
        """Return 12 hex digits for what an arm is, whatever is tried with it."""
        names = [(str(line).partition("=")[0].split(".")[0], line) for line in self.common[arm]]
        made = sorted(line for name, line in names if name not in KEPT)
        return digest([made, sorted(self.design.arms[arm])])

    def _different_that_have_what_is_tuned(self) -> list[Config]:
        """Return a run of each arm, of the first setting."""
        seen: dict[tuple[str, ...], str] = {}
        found = []
        for arm, label in enumerate(self.design.labels):
            first = self.job(arm, self.design.settings[0], 0, self._study)
            try:
                config = self.composed(first)
            except (HydraException, OmegaConfBaseException):
                if lacking := self._lacking(arm):
                    raise ConfigError(
                        f"hydra.sweeper.tune: the arm {label} has no option {lacking}; leave the "
                        "arm out, or tune what all arms have"
                    ) from None
                raise
            same = (config_hash(config), str(config.budget), str(config.data_dir))
            if same in seen:
                raise ConfigError(
                    f"hydra.sweeper.arms: {seen[same]} and {label} are the same runs; leave one out"
                )
            seen[same] = label
            found.append(config)
        return found

    def _lacking(self, arm: int) -> str | None:
        """Return a tuned option that an arm does not have; None if that is not its mistake."""
        bare = [*self.common[arm], *self.design.arms[arm], f"study={self._study}"]
        try:
            composed = self.loader.load_sweep_config(self.config, bare)
        except (HydraException, OmegaConfBaseException):
            return None
        groups = self.loader.list_groups("")
        options = [o for o in self.design.tune if o not in groups and not o.startswith("+")]
        return next((option for option in options if not has_option(composed, option)), None)

    def composed(self, overrides: Sequence[str]) -> Config:
        """Return the configuration of a run, checked.

        Raises:
            ConfigError: an option has the wrong type or lies outside its domain.
        """
        composed = self.loader.load_sweep_config(self.config, list(overrides))
        return parse(own_part(composed))
