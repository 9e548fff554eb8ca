"""Which layers a strategy adapts: strict matching of target patterns to layer names."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import nn

from adapterlab.adapters.base import linear_layers
from adapterlab.errors import ConfigError

ALL_LINEAR = "all-linear"
"""The target that stands for every linear layer outside the head."""

Value = TypeVar("Value")


def matches(pattern: str, name: str) -> bool:
    """Say whether a pattern names a layer: its whole name, or the end of it from a dot on.

    Shell wildcards are allowed: ``query`` and ``layer.*.query`` both match
    ``encoder.layer.3.query``; ``ery`` does not.
    """
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def select_layers(
    model: nn.Module, targets: str | Sequence[str], *, with_head: bool
) -> dict[str, nn.Linear]:
    """Return the linear layers that the targets name, in forward order.

    Args:
        model: the model before injection.
        targets: one pattern or several; `all-linear` is every linear layer outside the head.
        with_head: add the head's linear layers (`head: adapt`).

    Raises:
        ConfigError: a pattern matches no layer, or names the head.
    """
    body, head = linear_layers(model, head=False), linear_layers(model, head=True)
    patterns = [targets] if isinstance(targets, str) else list(targets)
    if not patterns:
        raise ConfigError(f"adapter.targets is empty; {_existing(body)}")
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in body if pattern == ALL_LINEAR or matches(pattern, name)}
        if not found and any(matches(pattern, name) for name in head):
            raise ConfigError(
                f"adapter.targets: {pattern!r} is the head; say adapter.head=adapt to adapt it"
            )
        if not found:
            raise ConfigError(f"adapter.targets: {pattern!r} matches no layer; {_existing(body)}")
        chosen |= found
    selected = {name: layer for name, layer in body.items() if name in chosen}
    return selected | head if with_head else selected


def by_pattern(
    option: str, layers: Iterable[str], default: Value, patterns: Mapping[str, Value]
) -> dict[str, Value]:
    """Give each layer the value of the first pattern that matches it, or the default.

    Args:
        option: the option's name, for the error.
        layers: names of the adapted layers.
        default: value of layers that no pattern matches.
        patterns: value by target pattern.

    Raises:
        ConfigError: a pattern matches none of the adapted layers.
    """
    names = list(layers)
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise ConfigError(
                f"adapter.{option}: {pattern!r} matches no adapted layer; {_existing(names)}"
            )
    return {
        name: next((v for pattern, v in patterns.items() if matches(pattern, name)), default)
        for name in names
    }


def _existing(names: Iterable[str]) -> str:
    return f"layers: {', '.join(names) or 'none'}"
