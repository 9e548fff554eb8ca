"""What a strategy would train, layer by layer, before anything is trained."""

import math
from dataclasses import dataclass

from torch import nn

from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, ParameterCount


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
    """

    layers: tuple[PlannedLayer, ...]
    count: ParameterCount
    mergeable: bool

    @property
    def size(self) -> int:
        """Bytes of the trained parameters in a checkpoint."""
        return sum(layer.size for layer in self.layers)


def plan(adapted: AdaptedModel) -> Plan:
    """List what would be trained. Works on the meta device, where a model has no weights."""
    layers = []
    inside: tuple[str, ...] = ()
    for name, module in adapted.model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in inside):
            continue
        if isinstance(module, AdapterLayer):
            inside += (name,)
        trained = [
            p for p in module.parameters(isinstance(module, AdapterLayer)) if p.requires_grad
        ]
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
    return Plan(tuple(layers), adapted.count(), adapted.strategy.mergeable)


def _shape(module: nn.Module) -> tuple[int, ...]:
    owner = module.base if isinstance(module, AdapterLayer) else module
    own = [tuple(p.shape) for p in owner.parameters(recurse=False)]
    inside = [tuple(p.shape) for p in owner.parameters()]
    if own:
        return max(own, key=len)
    return max(inside, key=lambda shape: (len(shape), math.prod(shape)), default=())


def _method(module: nn.Module) -> str:
    if isinstance(module, AdapterLayer):
        return module.describe()
    own = dict(module.named_parameters(recurse=False))
    trained = [name for name, p in own.items() if p.requires_grad]
    return "in full" if len(trained) == len(own) else f"{', '.join(trained)} only"
