"""How much of a model is frozen from its beginning, and so computes the same in every step."""

from itertools import takewhile
from typing import Any, cast

from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer


def frozen_depth(adapted: AdaptedModel) -> int:
    """Return how many blocks, counted from the first, are neither trained nor adapted.

    0 if the embeddings before them are, or if the model gives no hidden states.
    """
    if not hasattr(adapted.model, "hidden_states"):
        return 0
    model = cast(Any, adapted.model)

    def frozen(name: str) -> bool:
        module = model.get_submodule(name)
        adapters = any(isinstance(part, AdapterLayer) for part in module.modules())
        return not adapters and not any(p.requires_grad for p in module.parameters())

    if not all(frozen(name) for name in model.embedding_modules):
        return 0
    return len(list(takewhile(frozen, model.blocks)))
