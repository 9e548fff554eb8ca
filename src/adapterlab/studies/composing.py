"""Composing the jobs of a sweep, which takes Hydra longer than a tiny run trains."""

import copy
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from adapterlab.config.hydra_versions import BEFORE_1_4


def own_part(composed: DictConfig) -> DictConfig:
    """Return the part of what Hydra composed that is not Hydra's."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


class SweepComposer:
    """Hydra's config loader, for a sweep whose jobs are composed to be checked, then to be run.

    What was composed for the check is kept for the run. A job that differs from one before it in
    values only, not in what it takes from conf/, is a copy of that one with other values, as
    Hydra would have set them.

    Args:
        loader: that composes.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._checked: dict[tuple[str, ...], DictConfig] = {}
        self._before: dict[tuple[str, ...], tuple[list[Override], DictConfig]] = {}
        self._parsed: dict[str, Override] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: Sequence[str]
    ) -> DictConfig:
        """Compose a job to check it, and keep what came of it."""
        key = tuple(sweep_overrides)
        if key not in self._checked:
            self._checked[key] = self._compose(master_config, key)
        return self._checked[key]

    def take(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """Return a job to run it: what was kept, once, or else composed anew."""
        key = tuple(sweep_overrides)
        if key in self._checked:
            return self._checked.pop(key)
        return self._compose(master_config, key)

    def _compose(self, master_config: DictConfig, lines: tuple[str, ...]) -> DictConfig:
        new = [line for line in lines if line not in self._parsed]
        self._parsed |= zip(new, OverridesParser.create().parse_overrides(new), strict=True)
        overrides = [self._parsed[line] for line in lines]
        # Jobs that are alike in this are alike in all that they take from conf/.
        alike = tuple(
            override.key_or_group if self._is_value(override) else str(override.input_line)
            for override in overrides
        )
        if alike in self._before and len(set(alike)) == len(alike):
            before, composed = self._before[alike]
            return _with_values(composed, before, overrides)
        config: DictConfig = self._loader.load_sweep_config(master_config, list(lines))
        # A copy: Hydra and launchers write into what they are given.
        self._before[alike] = overrides, copy.deepcopy(config)
        return config

    def _is_value(self, override: Override) -> bool:
        """Say whether an override sets one plain value, so that it can be set again."""
        return (
            override.type is OverrideType.CHANGE
            and override.package is None
            and not override.is_hydra_override()
            and not override.is_sweep_override()
            and not isinstance(override.value(), dict)
            and not self._loader.repository.group_exists(override.key_or_group)
        )


def _with_values(
    composed: DictConfig, before: Sequence[Override], overrides: Sequence[Override]
) -> DictConfig:
    """Return a copy of a job in which values are others."""
    config = copy.deepcopy(composed)
    for old, new in zip(before, overrides, strict=True):
        if old.input_line != new.input_line:
            OmegaConf.update(config, new.key_or_group, new.value(), merge=True)
    # The list may begin with what is common to all jobs.
    task = [override for override in overrides if not override.is_hydra_override()]
    listed = config.hydra.overrides.task
    for place, override in enumerate(task, start=len(listed) - len(task)):
        listed[place] = override.input_line
    if BEFORE_1_4:  # which later has a resolver that reads the list
        config.hydra.job.override_dirname = _dirname(task, config.hydra.job.config.override_dirname)
    return config


def _dirname(task: Sequence[Override], form: DictConfig) -> str:
    """Return what Hydra 1.3 names a job's folder by, where a person asks for that."""
    kept = [str(o.input_line) for o in task if o.key_or_group not in form.exclude_keys]
    return str(form.item_sep).join(sorted(kept)).replace("=", str(form.kv_sep))
