"""Roles of trained parameters, by which a method or a run gives them rates and decays of their own.

Every trained parameter is the `head`'s or the `adapter`'s, as it is counted. An adapter layer may
say more of its own parameters (`AdapterLayer.roles`): LoRA's are `A` and `B` as well.
"""

from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer

Roles = tuple[str, ...]
"""Of one parameter, from the widest to the narrowest: ``("adapter", "B")``."""

WIDE = ("head", "adapter")
"""One of these is every parameter's."""


def roles_of(adapted: AdaptedModel) -> dict[str, Roles]:
    """Return the roles of every trained parameter, by its name in the model."""
    found: dict[str, Roles] = {}
    for name in adapted.trainable():
        place, _, own = name.rpartition(".")
        module = adapted.model.get_submodule(place)
        declared = module.roles.get(own) if isinstance(module, AdapterLayer) else None
        wide = WIDE[0] if adapted.in_head(name) else WIDE[1]
        found[name] = (wide,) if declared is None else (wide, declared)
    return found
