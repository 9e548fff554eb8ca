"""Composing the jobs of a sweep, which takes Hydra longer than a tiny run trains."""

import copy
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from adapterlab.base.dotted_names import within
from adapterlab.config.hydra_versions import BEFORE_1_4
from adapterlab.config.overrides import Given
from adapterlab.studies.sweeps.plain_values import Alike, Values, as_task, own_part, resolved

__all__ = ["SweepComposer", "own_part"]


class _First:
    """The first job of those that are alike, as Hydra composed it.

    Args:
        overrides: of the job.
        composed: the job.

    Attributes:
        composed: returns the job as it was composed, an object of its own each time.
    """

    def __init__(self, overrides: list[Override], composed: DictConfig) -> None:
        self.overrides = overrides
        self.composed = _copies(composed)
        self._alike: Alike | None = None

    def with_values(self, overrides: Sequence[Override]) -> DictConfig:
        """Return the job with other values."""
        return _with_values(self.composed(), self.overrides, overrides)

    def values(self, overrides: Sequence[Override]) -> tuple[Values, Given] | None:
        """Return a job's options and what it was given; None where only composing it tells."""
        try:
            alike = self._alike = self._alike or Alike(self.composed(), self.overrides)
            values, given = alike.values(overrides), alike.given(overrides)
            if values is not None and not alike.is_proven:
                composed = self.with_values(overrides)
                same = repr(values) == repr(resolved(own_part(composed)))
                alike.is_proven = same and given.overrides == (*composed.hydra.overrides.task,)
                alike.is_possible = alike.is_proven
        except Exception:  # a mistake: it is said when the job is composed
            return None
        return (values, given) if values is not None and alike.is_possible else None


class SweepComposer:
    """Hydra's config loader, for a sweep whose jobs are composed to be checked, then to be run.

    What Hydra composed for the check is kept for the run. A job that differs from one before it in
    values only, not in what it takes from conf/, is a copy of that one with other values, as
    Hydra would have set them.

    Args:
        loader: that composes.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._checked: dict[tuple[str, ...], DictConfig] = {}
        self._asked_for: set[tuple[str, ...]] = set()
        self._firsts: dict[tuple[str, ...], _First] = {}
        self._parsed: dict[str, Override] = {}
        self._plain: dict[str, bool] = {}

    @classmethod
    def around(cls, loader: Any) -> "SweepComposer":
        """Return a loader that is one already, or one around it."""
        return loader if isinstance(loader, cls) else cls(loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Give another process, as Joblib's launcher does, what composes without what was kept."""
        return type(self), (self._loader,)

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: Sequence[str]
    ) -> DictConfig:
        """Compose a job, and keep what Hydra made of it, once; copies are made again.

        Launchers of Hydra's take by this what a sweeper has checked, and write into it.
        """
        key = tuple(sweep_overrides)
        overrides, alike = self._read(key)
        if alike in self._firsts:
            return self._firsts[alike].with_values(overrides)
        if key in self._checked:
            return self._checked.pop(key)
        config = self._compose(master_config, key)
        if key not in self._asked_for:
            self._asked_for.add(key)
            # Who asks first may be a launcher, where nothing was checked.
            self._checked[key] = config if alike in self._firsts else copy.deepcopy(config)
        return config

    def take(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """Return a job to run it: what was kept, once, or else composed anew."""
        key = tuple(sweep_overrides)
        if key in self._checked:
            return self._checked.pop(key)
        return self._compose(master_config, key)

    def values(self, sweep_overrides: Sequence[str]) -> tuple[Values, Given] | None:
        """Return the resolved options of a job, and what it was given, without composing it.

        None for a job that is alike to none before it, or where nothing but composing it tells.
        """
        overrides, alike = self._read(tuple(sweep_overrides))
        first = self._firsts.get(alike)
        return None if first is None else first.values(overrides)

    def _compose(self, master_config: DictConfig, lines: tuple[str, ...]) -> DictConfig:
        overrides, alike = self._read(lines)
        if alike in self._firsts:
            return self._firsts[alike].with_values(overrides)
        config: DictConfig = self._loader.load_sweep_config(master_config, list(lines))
        if _apart(alike):
            self._firsts[alike] = _First(overrides, config)
        return config

    def _read(self, lines: tuple[str, ...]) -> tuple[list[Override], tuple[str, ...]]:
        """Return a job's overrides, and what jobs that are alike have in common."""
        new = [line for line in lines if line not in self._parsed]
        if new:
            found = OverridesParser.create().parse_overrides(new)
            self._parsed |= zip(new, found, strict=True)
            self._plain |= {line: self._is_value(one) for line, one in zip(new, found, strict=True)}
        overrides = [self._parsed[line] for line in lines]
        # Jobs that are alike in this are alike in all that they take from conf/.
        alike = tuple(
            override.key_or_group if self._plain[line] else str(override.input_line)
            for line, override in zip(lines, overrides, strict=True)
        )
        return overrides, alike

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


def _copies(composed: DictConfig) -> Callable[[], DictConfig]:
    """Return what makes copies of a job: Hydra and launchers write into what they are given."""
    try:  # four times as fast
        return partial(pickle.loads, pickle.dumps(composed, protocol=pickle.HIGHEST_PROTOCOL))
    except (pickle.PicklingError, AttributeError, TypeError):
        # Options of a plugin whose module Hydra has imported twice, as of Joblib's launcher.
        return partial(copy.deepcopy, copy.deepcopy(composed))


def _apart(names: Sequence[str]) -> bool:
    """Say whether each override sets an option of its own, and none inside of another's."""
    return not any(within(name, (*names[:at], *names[at + 1 :])) for at, name in enumerate(names))


def _with_values(
    config: DictConfig, before: Sequence[Override], overrides: Sequence[Override]
) -> DictConfig:
    """Set a job's values, which are another's, and return it."""
    for old, new in zip(before, overrides, strict=True):
        if old.input_line != new.input_line:
            OmegaConf.update(config, new.key_or_group, new.value(), merge=True)
    # The list may begin with what is common to all jobs.
    task = as_task(overrides)
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
