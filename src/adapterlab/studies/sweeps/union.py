"""Several sweeps as one study: each varies something of its own, from a point they share."""

import itertools
import shlex
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from adapterlab.base.errors import ConfigError


def jobs_of(
    sweeps: Sequence[str], arguments: Sequence[str], loader: ConfigLoader | None = None
) -> list[list[str]]:
    """Return the overrides of each job: of all sweeps, one after the other.

    Args:
        sweeps: the overrides of each in one string, as on a command line; "" leaves all at the
            point that they share.
        arguments: overrides of the command line, which every sweep is combined with.
        loader: that knows the groups.

    Raises:
        ConfigError: there is no sweep, one is not well quoted, or the command line sets what a
            sweep varies.
    """
    if not sweeps:
        raise ConfigError(
            "hydra.sweeper.sweeps is empty; such as "
            '\'hydra.sweeper.sweeps=["init_seed=0,1,2","order_seed=1,2"]\''
        )
    parser = OverridesParser.create(config_loader=loader)
    given = parser.parse_overrides(list(arguments))
    jobs: list[list[str]] = []
    for sweep in sweeps:
        try:
            parts = shlex.split(sweep)
        except ValueError as error:
            raise ConfigError(f"hydra.sweeper.sweeps: {sweep} has a quote without end") from error
        own = parser.parse_overrides(parts)
        varied = {override.key_or_group for override in own}
        for override in given:
            if override.key_or_group in varied:
                raise ConfigError(
                    f"{override.input_line}: {override.key_or_group} comes from "
                    f"hydra.sweeper.sweeps, in {sweep}"
                )
        jobs += _product([*given, *own])
    return jobs


def _product(overrides: Sequence[Override]) -> list[list[str]]:
    """Return all combinations of what is swept, the last of an option's overrides alone counting.

    Raises:
        ConfigError: an override is no list of values, as ``interval(0, 1)`` is none.
    """
    values: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise ConfigError(f"{override.input_line} is no list of values, as 0.1,0.2 is one")
    return [list(job) for job in itertools.product(*values.values())]
