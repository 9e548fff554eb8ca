"""What tells whether adapted models can be lanes of one pack."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import nn

from adapterlab.adapters.frozen import frozen_depth
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.models.frozen import keeps_statistics
from adapterlab.packing.groups import Part
from adapterlab.packing.layers import (
    COUNTERPARTS,
    LaneModule,
    frozen_names,
    training_modules,
)
from adapterlab.packing.randomness import UNSUPPORTED, UNSUPPORTED_NAMES


class CannotPackError(Exception):
    """These models cannot be lanes of one pack; the text says why, in a few words."""


@dataclass(frozen=True)
class Signature:
    """What tells whether models can be lanes of one pack.

    Attributes:
        ground: what they must have in common: the places of what they train or adapt, by name,
            how many frozen blocks come before these, and what else stays in evaluation mode.
        parts: of each place what is there. Where lanes that are adapted alike are side by side,
            they are computed as one.
    """

    ground: tuple[object, ...]
    parts: tuple[Part, ...]


def signature(adapted: AdaptedModel) -> Signature:
    """Return what tells whether a model can be a lane of a pack with others.

    It works on the meta device, so that packs can be planned before anything is loaded.

    Raises:
        CannotPackError: a module has no batched counterpart, or texts are computed by length.
    """
    if adapted.by_length:
        raise CannotPackError("texts of each length are computed apart")
    seen: dict[int, str] = {}
    parts = [_part(name, module, seen) for name, module in training_modules(adapted.model)]
    frozen = {name for name, _ in adapted.frozen_modules()}  # which do neither
    for name, module in adapted.model.named_modules():
        kind = type(module).__name__
        draws_together = isinstance(module, UNSUPPORTED) or kind.endswith(UNSUPPORTED_NAMES)
        if draws_together and name not in frozen:
            raise CannotPackError(f"{name} is a {kind}, whose draws lanes share")
        if keeps_statistics(module) and name not in frozen:
            raise CannotPackError(f"{name} keeps statistics of the batch, which lanes would share")
    places = tuple(str(part[0]) for part in parts)
    still = tuple(sorted(name for name in frozen if not _inside(name, places)))
    ground = (places, frozen_depth(adapted), still, *_drawn_over(adapted, frozen))
    return Signature(ground, tuple(parts))


def _drawn_over(adapted: AdaptedModel, frozen: Collection[str]) -> Iterator[object]:
    """Yield what lanes must have in common for modules inside of adapters to draw as they do alone.

    Args:
        adapted: the model.
        frozen: names of the modules that do not draw.
    """
    for name, module in adapted.model.named_modules():
        counterpart = COUNTERPARTS.get(type(module))
        if isinstance(module, AdapterLayer) and counterpart is not None:
            inside = module.base.named_modules(prefix=f"{name}.base")
            if any(_draws(n, m, counterpart, frozen) for n, m in inside):
                yield from counterpart.drawn_over(module)


def _draws(
    name: str, module: nn.Module, counterpart: type[LaneModule], frozen: Collection[str]
) -> bool:
    """Say whether a module inside of an adapter draws over what that adapter makes longer."""
    if isinstance(module, SeededDropout):
        return counterpart.lengthens_rows and module.p > 0
    return isinstance(module, nn.Dropout) and module.p > 0 and name not in frozen


def _part(name: str, module: nn.Module, seen: dict[int, str]) -> Part:
    """Return what is at a place, with what is in it.

    Args:
        name: of the place.
        module: which is there.
        seen: who trains a parameter, by its id; those of this module are entered.

    Raises:
        CannotPackError: it cannot be of several lanes.
    """
    counterpart = COUNTERPARTS.get(type(module))
    if counterpart is None:
        raise CannotPackError(f"{type(module).__name__} has no batched counterpart")
    for parameter in module.parameters(recurse=False):
        if parameter.requires_grad and seen.setdefault(id(parameter), name) != name:
            raise CannotPackError(f"{name} and {seen[id(parameter)]} share trained weights")
    own = (type(module).__name__, *counterpart.signature(module), *frozen_names(module).items())
    inner: list[object] = []
    if isinstance(module, AdapterLayer):
        within = list(training_modules(module.base)) if counterpart.over_lanes else []
        trained = [n for n, p in module.named_parameters() if p.requires_grad and "." in n]
        if others := [n for n in trained if not (within and n.startswith("base."))]:
            raise CannotPackError(
                f"{type(module).__name__} trains {others[0]}, a parameter of a module inside it"
            )
        inner = [_part(f"{name}.base.{n}".rstrip("."), m, seen) for n, m in within]
    return name, *own, *inner


def _inside(name: str, places: tuple[str, ...]) -> bool:
    return name in places or name.startswith(tuple(f"{place}." for place in places))
