"""Jobs of a sweep that differ in plain values only: their options without composing each."""

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from adapterlab.base.dotted_names import within
from adapterlab.config.overrides import Given

_PLACE = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
"""An option whose place needs no interpretation: `adapter.rank`, and not `limit[0]`."""

_PLAIN = (str, int, float, bool, type(None))

Values = dict[str, Any]
"""Options of a job that are not Hydra's, resolved."""


class Alike:
    """The resolved options of jobs that are alike to one that was composed.

    Plain values take the places of that job's, and what refers to other options is resolved anew.
    What this comes to is compared with what OmegaConf makes of a composed job, once, before it is
    believed.

    Args:
        composed: a job, with Hydra's own part; it is kept, and changed.
        overrides: of that job.

    Raises:
        Exception: whatever resolving it raises.
    """

    def __init__(self, composed: DictConfig, overrides: Sequence[Override]) -> None:
        self.is_proven = False
        self._overrides = overrides
        self._given = Given(
            tuple(composed.hydra.overrides.task), composed.hydra.mode is RunMode.MULTIRUN
        )
        self._own = own_part(composed)
        self._hanging = list(_interpolations(self._own))
        # Options of the job itself, as in ${hydra:job.num}, are each job's, and a schema changes
        # the values that it is given.
        self.is_possible = not _has_schema(self._own) and not any(
            "hydra" in text for _, text in self._hanging
        )
        self._values: Values = resolved(self._own) if self.is_possible else {}

    def values(self, overrides: Sequence[Override]) -> Values | None:
        """Return the options of a job; None where that is not as simple as copying values.

        Args:
            overrides: of the job, to the same options as those of the one that was composed.
        """
        if not self.is_possible:
            return None
        changed = [pair for pair in zip(self._overrides, overrides, strict=True) if _differ(*pair)]
        values = copy.deepcopy(self._values)
        for old, new in changed:
            if not self._set(values, old, new):
                return None
        if self._hanging and changed:
            self._resolve(values, changed)
        return values

    def given(self, overrides: Sequence[Override]) -> Given:
        """Return what a job was given: what is common to all comes first."""
        own = tuple(str(override.input_line) for override in as_task(overrides))
        common = self._given.overrides[: len(self._given.overrides) - len(own)]
        return Given((*common, *own), self._given.of_sweep)

    def _set(self, values: Values, old: Override, new: Override) -> bool:
        """Set a value; say whether it is one that OmegaConf would take as it is."""
        key, value = str(new.key_or_group), new.value()
        hanging = tuple(place for place, _ in self._hanging)
        if not _PLACE.fullmatch(key) or within(key, hanging):
            return False
        if not (_is_plain(value) and _is_plain(old.value())):
            return False
        *groups, name = key.split(".")
        node: Any = values
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        if not isinstance(node, dict) or name not in node:
            return False
        if isinstance(value, list) != isinstance(node[name], list) or isinstance(node[name], dict):
            return False
        node[name] = copy.deepcopy(value)
        return True

    def _resolve(self, values: Values, changed: Sequence[tuple[Override, Override]]) -> None:
        """Resolve what refers to other options, with values that are a job's for as long."""
        try:
            for _, new in changed:
                OmegaConf.update(self._own, str(new.key_or_group), new.value(), merge=True)
            for place, _ in self._hanging:
                *groups, name = place.split(".")
                own: Any = self._own
                node: Any = values
                for group in groups:
                    step = int(group) if isinstance(node, list) else group
                    own, node = own[step], node[step]
                step = int(name) if isinstance(node, list) else name
                found = own[step]
                node[step] = resolved(found) if OmegaConf.is_config(found) else found
        finally:
            for old, _ in changed:
                OmegaConf.update(self._own, str(old.key_or_group), old.value(), merge=True)


def own_part(composed: DictConfig) -> DictConfig:
    """Return the part of what Hydra composed that is not Hydra's."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def resolved(own: Any) -> Any:
    """Return options as plain values; what is not given raises."""
    return OmegaConf.to_container(own, resolve=True, throw_on_missing=True)


def as_task(overrides: Sequence[Override]) -> list[Override]:
    """Return those overrides that are not of Hydra's own options."""
    return [override for override in overrides if not override.is_hydra_override()]


def _differ(old: Override, new: Override) -> bool:
    return old.input_line != new.input_line


def _is_plain(value: Any) -> bool:
    """Say whether OmegaConf would take a value for what it is: no reference, no missing one."""
    if isinstance(value, list):
        return all(not isinstance(one, list) and _is_plain(one) for one in value)
    if isinstance(value, str):
        return "$" not in value and "\\" not in value and value != "???"
    return isinstance(value, _PLAIN)


def _has_schema(node: Any) -> bool:
    """Say whether a configuration, or a part of it, was made of classes."""
    if not OmegaConf.is_config(node):
        return False
    if OmegaConf.get_type(node) not in (dict, list):
        return True
    keys: Any = range(len(node)) if isinstance(node, ListConfig) else list(node)
    return any(
        _has_schema(node[key])
        for key in keys
        if not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key)
    )


def _interpolations(node: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the places of the values that refer to other options, and what is written there."""
    keys: Any = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        here = f"{place}.{key}" if place else str(key)
        if OmegaConf.is_interpolation(node, key):
            yield here, str(OmegaConf.to_container(node, resolve=False)[key])  # type: ignore[index]
        elif not OmegaConf.is_missing(node, key) and OmegaConf.is_config(node[key]):
            yield from _interpolations(node[key], here)
