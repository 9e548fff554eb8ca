"""Merging: an adapted model as an ordinary one, for deployment and for export."""

import copy

from torch import nn

from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, Strategy, replace_module
from adapterlab.base.errors import ConfigError


def merge(adapted: AdaptedModel) -> nn.Module:
    """Return a copy of the model in which every adapter layer has become a plain layer.

    The adapted model is left as it is. Strategies that add no layers give a plain copy. The copy
    is frozen and in evaluation mode, in which it computes the same logits to float rounding.

    Raises:
        ConfigError: the strategy has no such copy.
    """
    require_mergeable(adapted.strategy)
    model = copy.deepcopy(adapted.model)
    for name, module in list(model.named_modules()):
        if isinstance(module, AdapterLayer):
            replace_module(model, name, module.merged())
    return model.requires_grad_(False).eval()


def require_mergeable(strategy: Strategy) -> None:
    """Refuse a strategy whose models cannot be merged.

    Raises:
        ConfigError: no ordinary model computes what an adapted one does.
    """
    if not strategy.mergeable:
        raise ConfigError(
            f"{type(strategy).__name__} cannot be merged: no ordinary model computes the same, so "
            "the adapter has to stay beside its base"
        )
