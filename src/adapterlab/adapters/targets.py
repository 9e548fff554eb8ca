"""Which layers a strategy adapts: strict matching of target patterns to layer names.

A model may give its layers short names (`target_aliases`, see `adapterlab.models.protocol`), which
then come before patterns of the same text.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import nn

from adapterlab.adapters.strategy import body_parameters
from adapterlab.adapters.weights import is_convolution, is_linear, weight_layers
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError
from adapterlab.models.protocol import Aliases, adaptable, counted_layers

ALL_LINEAR = "all-linear"
"""The target that stands for every linear layer outside the head."""

ALL_CONV = "all-conv"
"""The target that stands for every convolution outside the head."""

AUTO = "auto"
"""The target that stands for what a method is usually put on."""

FOR_CONVOLUTIONS = "for convolutions there are lora, dora and ssf"
"""What methods of linear layers say to a user who has others."""

KINDS: Mapping[str, Callable[[nn.Module], bool]] = {ALL_LINEAR: is_linear, ALL_CONV: is_convolution}

Layers = str | Sequence[int]
"""Which of a model's blocks: `all`, `first N`, `last N`, `all but last N`, or indices from 0."""

Value = TypeVar("Value")

_MANY = 12  # names that an error lists one by one


def matches(pattern: str, name: str) -> bool:
    """Say whether a pattern names a layer: its whole name, or the end of it from a dot on.

    Shell wildcards are allowed: ``query`` and ``layer.*.query`` both match
    ``encoder.layer.3.query``; ``ery`` does not.
    """
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def aliases_of(model: nn.Module) -> Aliases:
    """Return the short names that a model declares, if any."""
    return adaptable(model).target_aliases


def names_matching(pattern: str, names: Iterable[str], aliases: Aliases) -> set[str]:
    """Return the names that a short name or a pattern stands for."""
    if pattern in aliases:
        return set(names).intersection(aliases[pattern])
    return {name for name in names if matches(pattern, name)}


def select_layers(
    model: nn.Module,
    targets: str | Sequence[str],
    *,
    with_head: bool,
    layers: Layers = "all",
    convolutions: bool = True,
) -> dict[str, nn.Module]:
    """Return the layers that the targets name, linear ones and convolutions, in forward order.

    Args:
        model: the model before injection.
        targets: one pattern or several, or short names; `all-linear` is every linear layer
            outside the head, `all-conv` every convolution. A pattern that matches linear layers
            means these alone.
        with_head: add the head's layers (`head: adapt`): those that targets name, or all linear
            ones if none is named.
        layers: the blocks to look in. Anything but `all` leaves out what is in no block; the
            head is not meant.
        convolutions: whether who asks can adapt them, for what the error advises.

    Raises:
        ConfigError: a target matches no layer, or names the head without `with_head`; or there
            are no such blocks.
    """
    body, head = weight_layers(model, head=False), weight_layers(model, head=True)
    aliases = aliases_of(model)
    patterns = [targets] if isinstance(targets, str) else list(targets)
    if not patterns:
        raise ConfigError(f"adapter.targets is empty; {_existing(body, aliases)}")
    chosen: set[str] = set()
    chosen_in_head: set[str] = set()
    for pattern in patterns:
        found = _reached(pattern, body, aliases)
        if not found:
            found_in_head = _reached(pattern, head, aliases) if pattern not in KINDS else set()
            if not found_in_head:
                others = [kind for kind in KINDS if _reached(kind, body, aliases)]
                if others == [ALL_CONV] and pattern == ALL_LINEAR and not convolutions:
                    raise ConfigError(
                        f"adapter.targets: {pattern!r} matches no layer: those of this model are "
                        f"convolutions; {FOR_CONVOLUTIONS}"
                    )
                kinds = f"{', '.join(others)} would; " if pattern in KINDS else ""
                raise ConfigError(
                    f"adapter.targets: {pattern!r} matches no layer; {kinds}"
                    f"{_existing(body, aliases)}"
                )
            if not with_head:
                raise ConfigError(
                    f"adapter.targets: {pattern!r} is the head; say adapter.head=adapt to adapt it"
                )
            chosen_in_head |= found_in_head
        elif layers != "all":
            blocks = select_blocks(layers, adaptable(model).blocks, counted_layers(model))
            found = {name for name in found if within(name, blocks)}
            if not found:
                raise ConfigError(
                    f"adapter.targets: {pattern!r} matches no layer within "
                    f"adapter.layers={layers}; {_existing(body, aliases)}"
                )
        chosen |= found
    selected = {name: layer for name, layer in body.items() if name in chosen}
    if with_head:
        wanted = chosen_in_head or unnamed_head(head)
        selected |= {name: layer for name, layer in head.items() if name in wanted}
    return selected


def unnamed_head(head: Mapping[str, nn.Module]) -> set[str]:
    """Return the layers of a head that is adapted as a whole: the linear ones, if there are any."""
    return _reached(ALL_LINEAR, head, {}) or set(head)


def _reached(pattern: str, layers: Mapping[str, nn.Module], aliases: Aliases) -> set[str]:
    """Return the layers that a target stands for: of a pattern, linear ones if it matches any."""
    if pattern in KINDS:
        return {name for name, layer in layers.items() if KINDS[pattern](layer)}
    found = names_matching(pattern, layers, aliases)
    if pattern in aliases:
        return found
    return {name for name in found if is_linear(layers[name])} or found


def select_parameters(
    model: nn.Module, patterns: Sequence[str], option: str
) -> dict[str, nn.Parameter]:
    """Return the parameters outside the head that patterns name, by name in the model's order.

    A pattern names a parameter, or a module and so all parameters in it; one that begins with
    ``!`` leaves out what it names, wherever it stands: ``*`` and ``!*attention*`` are all
    parameters without `attention` in their names.

    Args:
        model: the model before injection.
        patterns: patterns or short names.
        option: the option's name, for the error.

    Raises:
        ConfigError: a pattern matches no parameter, or names the head; or nothing is left.
    """
    body, aliases = dict(body_parameters(model)), aliases_of(model)
    if not patterns:
        raise ConfigError(f"adapter.{option} is empty; {_existing(body, aliases, 'parameters')}")
    chosen, left_out = set[str](), set[str]()
    for pattern in patterns:
        named = pattern.removeprefix("!")
        found = {name for name, _ in model.named_parameters() if _names(named, name, aliases)}
        if found.isdisjoint(body):
            if found:
                raise ConfigError(
                    f"adapter.{option}: {pattern!r} is the head; adapter.head=train trains it"
                )
            raise ConfigError(
                f"adapter.{option}: {pattern!r} matches no parameter; "
                f"{_existing(body, aliases, 'parameters')}"
            )
        (left_out if pattern.startswith("!") else chosen).update(found.intersection(body))
    if not chosen - left_out:
        raise ConfigError(f"adapter.{option}={list(patterns)} leaves no parameter to train")
    return {name: p for name, p in body.items() if name in chosen - left_out}


def _names(pattern: str, parameter: str, aliases: Aliases) -> bool:
    """Say whether a pattern names a parameter, or a module that it is in."""
    parts = parameter.split(".")
    owners = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return bool(names_matching(pattern, owners, aliases))


def check_layers(layers: Layers) -> None:
    """Refuse what says nothing about layers, whatever the model.

    Raises:
        ConfigError: it is no `Layers`.
    """
    if isinstance(layers, str):
        known = re.fullmatch(r"all|(first|last|all but last) [1-9]\d*", layers) is not None
    else:
        known = len(layers) > 0 and all(type(index) is int and index >= 0 for index in layers)
    if not known:
        raise ConfigError(
            f"adapter.layers={layers}; allowed: all, first N, last N, all but last N, or a list of "
            "indices from 0"
        )


def select_blocks(
    layers: Layers, blocks: tuple[str, ...], counted: str | None = None
) -> tuple[str, ...]:
    """Return the blocks that `layers` stands for.

    Args:
        layers: see `Layers`.
        blocks: the model's, in the order of the forward pass.
        counted: how many these are, for errors; see `counted_layers`.

    Raises:
        ConfigError: it asks for more blocks than there are, or for none.
    """
    check_layers(layers)
    if layers == "all":
        return blocks
    if isinstance(layers, str):
        side, _, count = layers.rpartition(" ")
        largest = int(count) + (side == "all but last")
        chosen = {"first": slice(int(count)), "last": slice(-int(count), None)}
        selected = blocks[chosen.get(side, slice(-int(count)))]
    else:
        largest = max(layers) + 1
        selected = tuple(block for index, block in enumerate(blocks) if index in layers)
    if largest > len(blocks):
        raise ConfigError(
            f"adapter.layers={layers}: the model has {counted or f'{len(blocks)} layers'}"
            + (f", 0 to {len(blocks) - 1}" if blocks else "")
        )
    return selected


def by_pattern(
    option: str,
    layers: Iterable[str],
    default: Value,
    patterns: Mapping[str, Value],
    aliases: Aliases | None = None,
) -> dict[str, Value]:
    """Give each layer the value of the first pattern that matches it, or the default.

    Args:
        option: the option's name, for the error.
        layers: names of the adapted layers.
        default: value of layers that no pattern matches.
        patterns: value by target pattern or short name.
        aliases: the model's short names.

    Raises:
        ConfigError: a pattern matches none of the adapted layers.
    """
    names = list(layers)
    values: dict[str, Value] = {}
    for pattern, value in patterns.items():
        found = names_matching(pattern, names, aliases or {})
        if not found:
            raise ConfigError(
                f"adapter.{option}: {pattern!r} matches no adapted layer; "
                f"{_existing(names, aliases or {})}"
            )
        values = dict.fromkeys(found, value) | values  # what an earlier pattern said stays
    return {name: values.get(name, default) for name in names}


def _existing(names: Collection[str], aliases: Aliases, noun: str = "layers") -> str:
    """List what can be targeted; alike layers of many blocks as one pattern."""
    if len(names) > _MANY:
        names = dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names)
    short = f"short names: {', '.join(aliases)}; " if aliases else ""
    return f"{short}{noun}: {', '.join(names) or 'none'}"
