"""Normalisation layers of a model's body, for methods that train or adapt them."""

import re

from torch import nn

from adapterlab.base.dotted_names import within
from adapterlab.models.protocol import adaptable

WITH_NORMS = (
    "models that have them: minilm, distilbert, bert_base, roberta_base and others of texts, vit, "
    "deit, dinov2, swin and convnext of images"
)
"""For errors of methods that a model has no layer for."""

_NAMED = re.compile(r"(LayerNorm|RMSNorm|RmsNorm)(Act)?(2d)?(Fp32)?$")
"""Ends of names of classes, with what timm puts behind them."""

_AFFINE = (nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d)

_OTHER_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)


def layer_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Return layer norms and RMS norms with weights outside the head, by name in forward order.

    Those of a class of somebody else's are told by its name.
    """
    return {
        name: module
        for name, module in _outside_head(model)
        if _is_layer_norm(module)
        if any(True for _ in module.parameters(recurse=False))
    }


def is_norm(module: nn.Module) -> bool:
    """Say whether a module normalises, by layer, group, instance or batch."""
    return _is_layer_norm(module) or isinstance(module, (*_AFFINE, *_OTHER_NORMS))


def was_known_from_the_start(norm: nn.Module) -> bool:
    """Say whether the first versions knew a layer norm or RMS norm as one."""
    return isinstance(norm, nn.LayerNorm | nn.RMSNorm) or type(norm).__name__.endswith(
        ("LayerNorm", "RMSNorm")
    )


def affine_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Return norms outside the head that end by scaling, of torch's own classes, by name.

    A subclass may apply its weight otherwise, as its own plus one, say.
    """
    return {
        name: module
        for name, module in _outside_head(model)
        if type(module) in _AFFINE and getattr(module, "weight", None) is not None
    }


def _is_layer_norm(module: nn.Module) -> bool:
    kind = type(module).__name__
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or _NAMED.search(kind) is not None


def _outside_head(model: nn.Module) -> list[tuple[str, nn.Module]]:
    heads = adaptable(model).head_modules
    return [(name, m) for name, m in model.named_modules() if not within(name, heads)]
