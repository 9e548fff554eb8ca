"""What a strategy would train, layer by layer, before anything is trained."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, ParameterCount
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError


@dataclass(frozen=True)
class PlannedLayer:
    """One layer with trained parameters.

    Attributes:
        name: the layer's name in the model.
        shape: of its weight, [d_out, d_in] for a linear layer; of the largest one in a module of
            several.
        method: what is trained in it.
        adapter: adapter parameters.
        head: head parameters.
        size: bytes of both in a checkpoint.
    """

    name: str
    shape: tuple[int, ...]
    method: str
    adapter: int
    head: int
    size: int


@dataclass(frozen=True)
class Plan:
    """Every trained layer in forward order, and the sums.

    Attributes:
        layers: with trained parameters.
        count: of parameters.
        mergeable: whether the trained model can become an ordinary one, for export.
        reached: share of the weights of the body's layers, without embeddings, that adapters are
            on; None where there is no adapter.
        beside: kinds of layers that no adapter is on, by the weights that they have.
    """

    layers: tuple[PlannedLayer, ...]
    count: ParameterCount
    mergeable: bool
    reached: float | None = None
    beside: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the trained parameters in a checkpoint."""
        return sum(layer.size for layer in self.layers)


def plan(adapted: AdaptedModel) -> Plan:
    """List what would be trained. Works on the meta device, where a model has no weights."""
    layers = []
    at_a_place = set[str]()
    for name, module in adapted.model.named_modules():
        if name in at_a_place:
            continue
        where, place, own = module, name, []
        while isinstance(where, AdapterLayer):  # what is at one place is one line
            for child, inside in where.named_modules(prefix=place):
                if child != place and not within(child, (f"{place}.base",)):
                    own += inside.parameters(recurse=False)
                    at_a_place.add(child)
            own += where.parameters(recurse=False)
            where, place = where.base, f"{place}.base"
            at_a_place.add(place)
        own += where.parameters(recurse=False)
        trained = [p for p in own if p.requires_grad]
        if not trained:
            continue
        parameters = sum(p.numel() for p in trained)
        in_head = adapted.in_head(name)
        layers.append(
            PlannedLayer(
                name=name,
                shape=_shape(module),
                method=_method(module),
                adapter=0 if in_head else parameters,
                head=parameters if in_head else 0,
                size=sum(p.numel() * p.element_size() for p in trained),
            )
        )
    mergeable = adapted.strategy.mergeable
    return Plan(tuple(layers), adapted.count(), mergeable, *_reach(adapted))


def never_learning(adapted: AdaptedModel, inputs: Any) -> tuple[str, ...]:
    """Return adapters that no gradient can come to: what they are on is no part of the logits.

    Args:
        adapted: in any mode.
        inputs: a few rows.
    """
    layers = {
        name: [p for p in module.parameters() if p.requires_grad]
        for name, module in adapted.model.named_modules()
        if isinstance(module, AdapterLayer)
    }
    if not any(layers.values()):
        return ()
    training = adapted.training
    try:
        with torch.enable_grad():
            logits = adapted.eval()(inputs)
            trained = [parameter for own in layers.values() for parameter in own]
            gradients = torch.autograd.grad(logits.sum(), trained, allow_unused=True)
    finally:
        adapted.train(training)
    reached = {
        id(p) for p, gradient in zip(trained, gradients, strict=True) if gradient is not None
    }
    return tuple(
        name for name, own in layers.items() if own and reached.isdisjoint(id(p) for p in own)
    )


def refuse_idle(layers: Sequence[str]) -> None:
    """Refuse adapters that `never_learning` has found.

    Raises:
        ConfigError: there are such.
    """
    if layers:
        others = f" and {len(layers) - 3} others" if len(layers) > 3 else ""
        raise ConfigError(
            f"adapter.targets: {', '.join(layers[:3])}{others}: no part of the logits, so that an "
            "adapter there can never learn; leave it out (adapter.layers names blocks, and nothing "
            "beside them)"
        )


def _reach(adapted: AdaptedModel) -> tuple[float | None, tuple[str, ...]]:
    """Return the share of the body's weights under adapters, and the kinds of the others."""
    reached, others, inside = 0, Counter[str](), set[str]()
    for name, module in adapted.model.named_modules():
        if adapted.in_head(name):
            continue
        if isinstance(module, AdapterLayer) and module.covers_base:
            inside.add(f"{name}.base")
        # Not as an attribute: an adapted layer would compute its own.
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        if weight is None or weight.ndim < 2:
            continue
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            continue
        if any(within(name, (base,)) for base in inside):
            reached += weight.numel()
        else:
            others[type(module).__name__] += weight.numel()
    if not inside:
        return None, ()
    total = reached + others.total()
    share = reached / total if total else None
    return share, tuple(kind for kind, _ in others.most_common())


def _shape(module: nn.Module) -> tuple[int, ...]:
    owner = module.base if isinstance(module, AdapterLayer) else module
    own = [tuple(p.shape) for p in owner.parameters(recurse=False)]
    inside = [tuple(p.shape) for p in owner.parameters()]
    if own:
        return max(own, key=len)
    return max(inside, key=lambda shape: (len(shape), math.prod(shape)), default=())


def _method(module: nn.Module) -> str:
    if isinstance(module, AdapterLayer):
        around = isinstance(module.base, AdapterLayer) or any(
            p.requires_grad for p in module.base.parameters(recurse=False)
        )
        return f"{module.describe()}; {_method(module.base)}" if around else module.describe()
    own = dict(module.named_parameters(recurse=False))
    trained = [name for name, p in own.items() if p.requires_grad]
    return "in full" if len(trained) == len(own) else f"{', '.join(trained)} only"
