"""Which layers an adapter is on, written in one way: many ways of targeting name the same ones."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from adapterlab.adapters.targets import (
    ALL_CONV,
    ALL_LINEAR,
    aliases_of,
    select_blocks,
    unnamed_head,
)
from adapterlab.adapters.weights import is_convolution, is_linear, weight_layers
from adapterlab.base.dotted_names import within
from adapterlab.models.protocol import adaptable

Value = TypeVar("Value", int, float)


def targets_of(
    model: nn.Module, chosen: Collection[str]
) -> tuple[str | list[str], str | list[int]]:
    """Return targets and blocks (`targets`, `layers`) that select just these layers of the body.

    `all-linear` where that is what they are, else short names within blocks, else their names.

    Args:
        model: before injection.
        chosen: names of layers outside the head.
    """
    layers = weight_layers(model, head=False)
    wanted, body = set(chosen), set(layers)
    kinds: dict[str, set[str]] = {
        ALL_LINEAR: {name for name in layers if is_linear(layers[name])},
        ALL_CONV: {name for name in layers if is_convolution(layers[name])},
    }
    if not wanted:
        return [], "all"
    if (kind := _kind(wanted, body, kinds)) is not None:
        return kind, "all"
    blocks = adaptable(model).blocks
    if all(within(name, blocks) for name in wanted):
        touched = [n for n, block in enumerate(blocks) if any(within(w, (block,)) for w in wanted)]
        where = blocks_of(touched, len(blocks))
        inside = {n for n in body if within(n, select_blocks(where, blocks))}
        if (kind := _kind(wanted, inside, kinds)) is not None:
            return kind, f"last {len(blocks)}" if where == "all" else where
        short = _short_names(aliases_of(model), inside, wanted)
        if short:
            return short, where
    return sorted(wanted), "all"


def places_of(
    model: nn.Module, layers: Collection[str], *, with_head: bool
) -> dict[str, str | list[str] | list[int]]:
    """Return `targets` and `layers` that select just these layers, of the head as well.

    Args:
        model: before injection.
        layers: names of the layers.
        with_head: whether layers of the head are adapted unless targets name others.
    """
    head, body = (weight_layers(model, head=where) for where in (True, False))
    targets, blocks = targets_of(model, [name for name in layers if name in body])
    of_head = sorted(head.keys() & set(layers))
    if with_head and set(of_head) != unnamed_head(head):
        targets = [*([targets] if isinstance(targets, str) else targets), *of_head]
    return {"targets": targets, "layers": blocks}


def pattern_of(values: Mapping[str, Value]) -> tuple[Value, dict[str, Value]]:
    """Return what most layers have, of several such values the largest, and other layers' values.

    Args:
        values: a number by layer; at least one.
    """
    counts = Counter(values.values())
    most = max(counts, key=lambda value: (counts[value], value))
    return most, {name: value for name, value in sorted(values.items()) if value != most}


def as_written(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be told of options that name layers without a model.

    Targets are in no order. Patterns are: the first that matches a layer counts.

    Args:
        options: of a strategy.
    """
    changed: dict[str, Any] = {}
    for key in ("targets", "feedforward", "also_train"):
        if isinstance(named := options.get(key), list) and named:
            changed[key] = sorted(set(named), key=str)
    for key in ("rank_pattern", "alpha_pattern"):
        if len(pattern := options.get(key) or {}) > 1:
            changed[key] = [[name, value] for name, value in pattern.items()]
    return changed


def _kind(
    wanted: set[str], among: set[str], kinds: Mapping[str, set[str]]
) -> str | list[str] | None:
    """Return the target that stands for just the wanted ones among some layers; None if none."""
    for target, names in kinds.items():
        if wanted == among & names:
            return target
    return sorted(kinds) if wanted == among else None


def blocks_of(touched: Sequence[int], count: int) -> str | list[int]:
    """Return `layers` for the blocks of these indices, of so many in the model."""
    if len(touched) == count:
        return "all"
    if list(touched) == list(range(count - len(touched), count)):
        return f"last {len(touched)}"
    if list(touched) == list(range(len(touched))):
        return f"first {len(touched)}"
    return list(touched)


def _short_names(
    aliases: Mapping[str, tuple[str, ...]], inside: set[str], wanted: set[str]
) -> list[str]:
    """Return short names for just the wanted layers, the widest first; none if there are none."""
    left, used = set(wanted), []
    for short, names in sorted(aliases.items(), key=lambda item: (-len(item[1]), item[0])):
        meant = inside.intersection(names)
        if meant and meant <= left:
            used.append(short)
            left -= meant
    return sorted(used) if not left else []
