"""Several sweeps as one study: each varies something of its own, from a point they share."""

import shlex
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser

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
        (batch,) = BasicSweeper.split_arguments([*given, *own], None)
        jobs += batch
    return jobs
