"""What the tuned sweeper is asked for, checked: arms, the values to try, and the seeds."""

import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from adapterlab.base.errors import ConfigError
from adapterlab.runs.trial_pruner import make_pruner

Setting = dict[str, Any]
"""A value for every option that is tuned."""

_ARMS = '\'hydra.sweeper.arms=["adapter=full","adapter=lora adapter.rank=8"]\''
_TUNE = "'hydra.sweeper.tune={optimizer.lr:[1e-4,1e-3,1e-2]}'"


@dataclass(frozen=True)
class Pruning:
    """How trials are stopped early; see `runs.trial_pruner`.

    Attributes:
        rule: of the pruner.
        options: of it, as they were given.
        lanes: trials of a pack at the same time; None for as many as memory has room for.
    """

    rule: str
    options: Mapping[str, Any]
    lanes: int | None

    @classmethod
    def of(cls, pruner: Any, lanes: Any) -> "Pruning | None":
        """Check the sweeper's options; None where nothing is stopped.

        Raises:
            ConfigError: one is wrong, or Optuna is not installed.
        """
        if lanes is not None and (type(lanes) is not int or lanes < 1):
            raise ConfigError(f"hydra.sweeper.lanes={lanes} should be a whole number from 1")
        if pruner is None:
            if lanes is not None:
                raise ConfigError(
                    f"hydra.sweeper.lanes={lanes} is of trials that give their places to others; "
                    "set hydra.sweeper.pruner, too"
                )
            return None
        if isinstance(pruner, dict):
            options = {str(name): value for name, value in pruner.items() if name != "name"}
            rule = str(pruner.get("name"))
        else:
            rule, options = str(pruner), {}
        make_pruner(rule, options)
        return cls(rule, options, lanes)

    def told(self, among: str) -> str:
        """Return the override by which a trial hears of it.

        Args:
            among: the key of its arm.
        """
        options = ",".join(f"{name}:{written(value)}" for name, value in self.options.items())
        lanes = "" if self.lanes is None else f",lanes:{self.lanes}"
        return f"trial_pruner={{rule:{self.rule},among:'{among}',options:{{{options}}}{lanes}}}"


@dataclass(frozen=True)
class Design:
    """What is compared, and how it is tuned.

    Attributes:
        arms: overrides of each arm.
        tune: values to try by option, numbers in ascending order and before what is none.
        tuning_seeds: of the runs among which is chosen.
        seeds: of the runs that are compared.
        pruning: how trials are stopped early; None if they are not.
    """

    arms: tuple[tuple[str, ...], ...]
    tune: Mapping[str, tuple[Any, ...]]
    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    pruning: Pruning | None = None

    @classmethod
    def of(
        cls,
        arms: Any,
        tune: Any,
        tuning_seeds: Any,
        seeds: Any,
        pruner: Any = None,
        lanes: Any = None,
    ) -> "Design":
        """Check the sweeper's options.

        Raises:
            ConfigError: one has the wrong type, there is nothing to compare or to tune, an arm, a
                value or a seed is given twice, a seed is below 0 or chooses and is compared, or
                there is no such pruner.
        """
        design = cls(
            _arms(_plain(arms)),
            _tune(_plain(tune)),
            _seeds("tuning_seeds", _plain(tuning_seeds)),
            _seeds("seeds", _plain(seeds)),
            Pruning.of(_plain(pruner), _plain(lanes)),
        )
        if both := sorted({*design.tuning_seeds} & {*design.seeds}):
            raise ConfigError(
                f"hydra.sweeper.seeds={[*design.seeds]} and "
                f"tuning_seeds={[*design.tuning_seeds]} should have no seed in common: a run that "
                f"a value was chosen for is a lucky one, and that of seed {both[0]} would count"
            )
        return design

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

    @property
    def labels(self) -> list[str]:
        """The arms as they were written."""
        return [" ".join(arm) for arm in self.arms]

    def grid(self, metric: str) -> str:
        """Return 8 hex digits for what is tried, with which seeds, and chosen by which metric.

        A pruner is a part of it: what it has stopped was not tried to the end.
        """
        tried = {option: list(values) for option, values in self.tune.items()}
        how = [] if self.pruning is None else [self.pruning.rule, self.pruning.options]
        return digest([tried, self.tuning_seeds, metric, *how])[:8]

    def edges(self, setting: Setting, possible: Callable[[Setting], bool]) -> Iterator[str]:
        """Say of each number of a setting that is the smallest or largest tried that it is.

        Args:
            setting: the best.
            possible: whether a setting can be run; what cannot go lower is not at an edge.
        """
        for option, values in self.tune.items():
            value = setting[option]
            numbers = [other for other in values if is_number(other)]
            if len(numbers) < 2 or value not in numbers or not is_number(value):
                continue
            for end, which in ((numbers[0], "smallest"), (numbers[-1], "largest")):
                beyond = _beyond(value, up=which == "largest")
                if value == end and possible({**setting, option: beyond}):
                    yield f"{option}={value} is the {which} that was tried"


def digest(values: Any) -> str:
    """Return 12 hex digits for plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def is_number(value: Any) -> bool:
    """Say whether a value has an order."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def written(value: Any) -> str:
    """Return a value as an override says it."""
    return value if isinstance(value, str) else json.dumps(value)


def _plain(values: Any) -> Any:
    return OmegaConf.to_object(values) if OmegaConf.is_config(values) else values


def _arms(arms: Any) -> tuple[tuple[str, ...], ...]:
    if arms is None or arms == []:
        raise ConfigError(f"hydra.sweeper.arms is empty; such as {_ARMS}")
    if not isinstance(arms, list):
        raise ConfigError(f"hydra.sweeper.arms={arms} should be a list of arms; such as {_ARMS}")
    split: dict[tuple[str, ...], tuple[str, ...]] = {}
    for arm in arms:
        if not isinstance(arm, str) or not arm.strip():
            raise ConfigError(
                f"hydra.sweeper.arms: {arm!r} should be the overrides of an arm; such as {_ARMS}"
            )
        try:
            overrides = tuple(shlex.split(arm))
        except ValueError as error:
            reason = "a quote is not closed" if "quotation" in str(error) else "a \\ ends it"
            raise ConfigError(f"hydra.sweeper.arms: {arm}: {reason}") from None
        for override in overrides:
            if "=" not in override and not override.startswith("~"):
                raise ConfigError(
                    f"hydra.sweeper.arms: {arm}: {override} is not of the form option=value"
                )
        if (same := tuple(sorted(overrides))) in split:
            raise ConfigError(f"hydra.sweeper.arms: {arm} is given twice")
        split[same] = overrides
    return tuple(split.values())


def _tune(tune: Any) -> dict[str, tuple[Any, ...]]:
    if tune is None or tune == {}:
        raise ConfigError(f"hydra.sweeper.tune is empty; such as {_TUNE}")
    if not isinstance(tune, dict):
        raise ConfigError(
            f"hydra.sweeper.tune={tune} should be lists of values by option; such as {_TUNE}"
        )
    return {str(name): _ascending(str(name), values) for name, values in tune.items()}


def _ascending(option: str, values: Any) -> tuple[Any, ...]:
    """Return the values of an option, numbers in ascending order."""
    if not isinstance(values, list) or not values:
        said = "null" if values is None else values
        raise ConfigError(f"hydra.sweeper.tune: {option}={said} should be a list of values")
    values = [_number_if_it_is_one(value) for value in values]
    numbers = sorted(value for value in values if is_number(value))
    ordered = (*numbers, *(value for value in values if not is_number(value)))
    for place, value in enumerate(ordered):
        if any(value == other and type(value) is type(other) for other in ordered[:place]) or (
            is_number(value) and value in numbers[:place]
        ):
            raise ConfigError(f"hydra.sweeper.tune: {option}={written(value)} is given twice")
    return ordered


def _number_if_it_is_one(value: Any) -> Any:
    """Read a text as the number that Hydra will read it as."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?|\d*\.\d+)([eE][-+]?\d+)?", value):
        return int(value) if re.fullmatch(r"[-+]?\d+", value) else float(value)
    return value


def _seeds(name: str, seeds: Any) -> tuple[int, ...]:
    whole = isinstance(seeds, list) and all(type(seed) is int for seed in seeds)
    if not whole or not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        said = "null" if seeds is None else seeds
        raise ConfigError(
            f"hydra.sweeper.{name}={said} should be different seeds, whole numbers from 0; such as "
            f"'hydra.sweeper.{name}=[0,1,2]'"
        )
    return tuple(seeds)


def _beyond(value: float, *, up: bool) -> float:
    """Return the next value that one might try."""
    if isinstance(value, int):
        return value + 1 if up else value - 1
    return value * (1.001 if up == (value > 0) else 0.5) if value else (1.0 if up else -1.0)
