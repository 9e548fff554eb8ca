"""How much of a model is frozen from its beginning, and so computes the same in every step."""

from itertools import accumulate, takewhile

from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.models.protocol import adaptable


def frozen_depth(adapted: AdaptedModel) -> int:
    """Return how many blocks, counted from the first, are neither trained nor adapted.

    One more if nothing before the head is, where the model can go on from there. 0 if the
    embeddings before the blocks are, or if the model gives no hidden states.
    """
    model = adaptable(adapted.model)
    if model.hidden_states is None:
        return 0

    def frozen(name: str) -> bool:
        module = adapted.model.get_submodule(name)
        path = accumulate(name.split("."), lambda above, child: f"{above}.{child}")
        around = (adapted.model.get_submodule(above) for above in path)
        adapters = any(isinstance(part, AdapterLayer) for part in (*around, *module.modules()))
        return not adapters and not any(p.requires_grad for p in module.parameters())

    if model.reaches_head and _nothing_before_head(adapted):
        return len(model.blocks) + 1
    if not all(frozen(name) for name in model.embedding_modules):
        return 0
    return len(list(takewhile(frozen, model.blocks)))


def _nothing_before_head(adapted: AdaptedModel) -> bool:
    """Say whether the head alone is trained or adapted."""
    layers = (n for n, m in adapted.model.named_modules() if isinstance(m, AdapterLayer))
    return all(map(adapted.in_head, (*adapted.trainable(), *layers)))
