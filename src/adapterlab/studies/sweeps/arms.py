"""Arms as a sweeper is given them: overrides in one string each, or the product of a sweep."""

import itertools
import shlex
from collections.abc import Mapping, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from adapterlab.base.errors import ConfigError
from adapterlab.config.parsing import parse
from adapterlab.runs.identity import config_hash
from adapterlab.studies.sweeps.arm_options import given_to_each
from adapterlab.studies.sweeps.composing import own_part

OWN = ("seed", "study", "tuning", "trial_pruner", "plan", "resume", "select_on")
"""Options that an arm does not set: they belong to the study or to the sweeper."""


class Arms:
    """The arms of a study, and what the command line adds to each.

    Args:
        arms: of each, its overrides in one string; empty for the product of what is swept.
        arguments: overrides of the command line.
        params: sweeps of an experiment, by option; the command line goes before them.
        config: of the sweep.
        loader: composes a run.
        taken: options that the sweeper sets itself, and where they come from.

    Raises:
        ConfigError: an arm or an override cannot be what it is.
    """

    def __init__(
        self,
        arms: Sequence[str],
        arguments: Sequence[str],
        params: Mapping[str, str],
        config: DictConfig,
        loader: ConfigLoader,
        taken: Mapping[str, str],
    ) -> None:
        parser = OverridesParser.create(config_loader=loader)
        given = parser.parse_overrides(list(arguments))
        for override in given:
            if override.key_or_group in taken:
                raise ConfigError(
                    f"{override.input_line}: {override.key_or_group} comes from "
                    f"{taken[override.key_or_group]}"
                )
        known = {override.key_or_group for override in given}
        more = [f"{key}={value}" for key, value in params.items() if key not in (*known, *taken)]
        given += parser.parse_overrides(more)
        swept = [override for override in given if override.is_sweep_override()]
        if arms and swept:
            raise ConfigError(
                f"{swept[0].input_line}: hydra.sweeper.arms says what the arms are; give one value "
                "here, or leave arms out"
            )
        self.lines = [_split(arm) for arm in arms] if arms else _product(swept)
        self._parsed = [self._checked(parser, line, taken) for line in self.lines]
        for label, times in ((arm, self.labels.count(arm)) for arm in self.labels):
            if times > 1:
                raise ConfigError(f"hydra.sweeper.arms: {label} comes {times} times")
        rest = [o for o in given if o not in swept and o.key_or_group != "study"]
        self._common = given_to_each(self.labels, self._parsed, rest, config, loader)
        self._config, self._loader = config, loader

    @property
    def labels(self) -> list[str]:
        """What a person would call each arm: its overrides."""
        return [" ".join(line) for line in self.lines]

    def job(self, arm: int, *fixed: str) -> list[str]:
        """Return the overrides of a run of an arm; ``fixed`` ones go before all."""
        return [*self._common[arm], *self.lines[arm], *fixed]

    def require_comparable(self, *fixed: str) -> None:
        """Refuse two arms that are the same runs, however they are written, or of two data sets.

        Args:
            fixed: overrides of a run.

        Raises:
            ConfigError: two are, or an option of an arm is wrong.
        """
        seen: dict[tuple[str, str], str] = {}
        on: dict[str, str] = {}
        for arm, label in enumerate(self.labels):
            composed = self._loader.load_sweep_config(self._config, self.job(arm, *fixed))
            config = parse(own_part(composed))
            same = (config_hash(config), str(config.budget))
            if same in seen:
                raise ConfigError(f"{seen[same]} and {label} are the same runs; leave one out")
            seen[same] = label
            on.setdefault(config.dataset.name, label)
            if len(on) > 1:
                (one, first), (other, second) = on.items()
                raise ConfigError(
                    f"{first} is on {one} and {second} on {other}: scores on two data sets are not "
                    "compared; make a study of each"
                )

    @staticmethod
    def _checked(
        parser: OverridesParser, line: Sequence[str], taken: Mapping[str, str]
    ) -> list[Override]:
        overrides = parser.parse_overrides(list(line))
        for override in overrides:
            if override.is_sweep_override():
                raise ConfigError(
                    f"hydra.sweeper.arms: {override.input_line} is several arms; write each out"
                )
            if override.key_or_group in (*OWN, *taken):
                raise ConfigError(
                    f"hydra.sweeper.arms: {override.input_line} is the same for all arms"
                )
        return overrides


def _split(arm: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(arm))
    except ValueError as error:
        raise ConfigError(f"hydra.sweeper.arms: {arm}: {error}") from None


def _product(swept: Sequence[Override]) -> list[tuple[str, ...]]:
    """Return all combinations of what is swept, as Hydra's own sweeper would run them."""
    for override in swept:
        if not override.is_discrete_sweep():
            raise ConfigError(f"{override.input_line}: an arm has one value; list the values")
    return [
        tuple(line)
        for line in itertools.product(
            *(
                [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
                for o in swept
            )
        )
        if line
    ]
