"""What the command line gives to each of a sweeper's arms."""

import logging
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from adapterlab.base.errors import ConfigError

log = logging.getLogger(__name__)


def given_to_each(
    labels: Sequence[str],
    arms: Sequence[Sequence[Override]],
    given: Sequence[Override],
    config: DictConfig,
    loader: ConfigLoader,
) -> list[list[str]]:
    """Return for each arm the overrides of the command line that it takes.

    What an arm chooses itself goes before them. An option that what it chooses does not have, as
    there are no `base.epochs` with base=scratch, is left out.

    Args:
        labels: what a person would call each arm.
        arms: the overrides of each.
        given: those of the command line.
        config: of the sweep.
        loader: composes a run.

    Raises:
        ConfigError: no arm has an option.
    """
    kept: list[list[str]] = []
    lacking: dict[str, list[str]] = {}
    for label, arm in zip(labels, arms, strict=True):
        takes = _takes(arm, given, config, loader)
        kept.append([str(o.input_line) for o, fits in takes if fits])
        for override, fits in takes:
            if not fits:
                lacking.setdefault(str(override.input_line), []).append(label)
    for line, without in lacking.items():
        if not any(line in lines for lines in kept):
            raise ConfigError(f"{line}: no arm has this option")
        log.info("%s does not apply to %s", line, ", ".join(without))
    return kept


def has_option(composed: DictConfig, option: str) -> bool:
    """Say whether a configuration has an option."""
    parent, _, name = option.rpartition(".")
    node = OmegaConf.select(composed, parent) if parent else composed
    return isinstance(node, DictConfig) and name in node


def _takes(
    arm: Sequence[Override], given: Sequence[Override], config: DictConfig, loader: ConfigLoader
) -> list[tuple[Override, bool]]:
    """Say of the overrides that an arm leaves open whether it has such options."""
    own = {override.key_or_group for override in arm}
    chosen = own.intersection(loader.list_groups(""))
    rest = [override for override in given if override.key_or_group not in own]
    inside = [o for o in rest if _first(o) in chosen and not o.is_add()]
    if not inside:
        return [(override, True) for override in rest]
    sure = [str(o.input_line) for o in (*rest, *arm) if o not in inside]
    composed = loader.load_sweep_config(config, sure)
    return [(o, o not in inside or has_option(composed, str(o.key_or_group))) for o in rest]


def _first(override: Override) -> str:
    return str(override.key_or_group).partition(".")[0]
