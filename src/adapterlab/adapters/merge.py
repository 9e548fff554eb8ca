"""Merging: an adapted model as an ordinary one, for deployment and for export."""

import copy

from torch import nn

from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, replace_module


def merge(adapted: AdaptedModel) -> nn.Module:
    """Return a copy of the model in which every adapter layer has become a plain layer.

    The adapted model is left as it is. Strategies that add no layers give a plain copy. The copy
    is frozen and in evaluation mode, in which it computes the same logits to float rounding.
    """
    model = copy.deepcopy(adapted.model)
    for name, module in list(model.named_modules()):
        if isinstance(module, AdapterLayer):
            replace_module(model, name, module.merged())
    return model.requires_grad_(False).eval()
