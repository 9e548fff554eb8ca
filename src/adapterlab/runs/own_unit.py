"""Heads that say numbers in the unit of the data set, and heads that learn them standardised."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from adapterlab.adapters.strategy import AdapterLayer
from adapterlab.base.errors import ConfigError
from adapterlab.data.targets import Scale
from adapterlab.models.protocol import adaptable


def in_own_unit(model: nn.Module, scale: Scale) -> None:
    """Let the last layer of a model's head undo the scale, in place.

    Args:
        model: of one output.
        scale: in which it says numbers.

    Raises:
        ConfigError: the layer has no bias that could hold the mean, or an adapter.
    """
    if scale == Scale():
        return
    last = _last_layer(model)
    last.weight.data.mul_(scale.deviation)
    last.bias.data.mul_(scale.deviation).add_(scale.mean)


def standardised(model: nn.Module, scale: Scale) -> None:
    """Let the last layer of a head that says numbers in their own unit say them in the scale.

    Args:
        model: of one output.
        scale: in which numbers are to be learnt.

    Raises:
        ConfigError: the layer has no bias that could hold the mean, or an adapter.
    """
    if scale == Scale():
        return
    last = _last_layer(model)
    last.weight.data.div_(scale.deviation)
    last.bias.data.sub_(scale.mean).div_(scale.deviation)


@contextmanager
def for_a_while(model: nn.Module, scale: Scale) -> Iterator[None]:
    """Do as `in_own_unit` inside of the block, and leave the model as it was, to the last bit.

    Raises:
        ConfigError: as there.
    """
    if scale == Scale():
        yield
        return
    last = _last_layer(model)
    before = {name: tensor.detach().clone() for name, tensor in last.state_dict().items()}
    in_own_unit(model, scale)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in last.state_dict().items():
                tensor.copy_(before[name])


def _last_layer(model: nn.Module) -> nn.Linear:
    """Return the layer of a head that gives its number.

    Raises:
        ConfigError: it has no bias, or an adapter around it.
    """
    heads = [model.get_submodule(name) for name in adaptable(model).head_modules]
    modules = [module for head in heads for module in head.modules()]
    if any(isinstance(module, AdapterLayer) for module in modules):
        raise ConfigError(
            "the head of this model is adapted, and its adapter does not say numbers in their own "
            "unit; loss.standardize=false learns them in it"
        )
    layers = [module for module in modules if isinstance(module, nn.Linear)]
    last = next((layer for layer in reversed(layers) if layer.out_features == 1), None)
    if last is None or last.bias is None:
        raise ConfigError(
            "the head of this model has no linear layer with a bias, which the mean of the numbers "
            "would go into; loss.standardize=false learns them in their own unit"
        )
    return last
