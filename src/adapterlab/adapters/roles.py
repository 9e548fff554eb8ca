"""Roles of trained parameters, by which a method or a run gives them rates and decays of their own.

Every trained parameter is the `head`'s or the `adapter`'s, as it is counted. An adapter layer may
say more of its own parameters (`AdapterLayer.roles`): LoRA's are `A` and `B` as well. What is
trained of the model's own has the role `norm` in a norm, and `bias` as a bias elsewhere: published
trainings of transformers take no weight decay of either.
"""

from torch import nn

from adapterlab.adapters.norms import is_norm
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.weights import is_bias

Roles = tuple[str, ...]
"""Of one parameter, from the widest to the narrowest: ``("adapter", "B")``."""

WIDE = ("head", "adapter")
"""One of these is every parameter's."""

OF_ANY_MODEL = ("norm", "bias")
"""Roles that a decay may be set for where nothing has them: it is then true of nothing."""


def roles_of(adapted: AdaptedModel) -> dict[str, Roles]:
    """Return the roles of every trained parameter, by its name in the model."""
    found: dict[str, Roles] = {}
    for name in adapted.trainable():
        place, _, own = name.rpartition(".")
        module = adapted.model.get_submodule(place)
        narrow = _narrow(module, own)
        wide = WIDE[0] if adapted.in_head(name) else WIDE[1]
        found[name] = (wide,) if narrow is None else (wide, narrow)
    return found


def _narrow(module: nn.Module, own: str) -> str | None:
    """Return what role a parameter has by its own name in a module, if any."""
    if isinstance(module, AdapterLayer):
        return module.roles.get(own)
    if is_norm(module):
        return "norm"
    return "bias" if is_bias(own) else None
