"""How far below the head a parameter is, in blocks, for learning rates that decay by layers."""

from itertools import takewhile

from torch import nn

from adapterlab.adapters.base_names import base_name, wrapped_modules
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError
from adapterlab.models.protocol import adaptable


def below_the_head(adapted: AdaptedModel) -> dict[str, int]:
    """Return how many blocks each trained parameter is below the head, by its name in the model.

    The head and what stands between it and the last block, such as a pooler or the last norm, are
    at 0, the last block at 1, the first at the number of blocks, and embeddings, of positions too,
    one further, as in BEiT (Bao et al. 2022, arXiv:2106.08254). What an adapter has in a block is
    as far as the block, and what it has around all blocks, a prompt, as far as the embeddings.

    Raises:
        ConfigError: the model names no blocks.
    """
    model = adaptable(adapted.model)
    if not model.blocks:
        kind = type(adapted.model).__name__
        raise ConfigError(f"optimizer.layer_decay: {kind} names no blocks; 1 is allowed")
    first = len(model.blocks) + 1
    wrapped = wrapped_modules(adapted.model)
    named = {name: base_name(name, wrapped) for name, _ in adapted.model.named_parameters()}
    listed = model.embedding_modules or _listed_first(list(named.values()), model.blocks)
    tables = (base_name(name, wrapped) for name in _embeddings(adapted.model))
    around = _around_blocks(adapted.model, wrapped)
    before = (*listed, *tables, *(named[name] for name in around))

    def below(name: str, in_base: str) -> int:
        block = next((i for i, b in enumerate(model.blocks) if within(in_base, (b,))), None)
        if block is not None:
            return len(model.blocks) - block
        return first if within(in_base, before) and not adapted.in_head(name) else 0

    return {name: below(name, named[name]) for name in adapted.trainable()}


def _listed_first(names: list[str], blocks: tuple[str, ...]) -> list[str]:
    """Return parameters that a model lists before its blocks, if it does not name what is there."""
    return list(takewhile(lambda name: not within(name, blocks), names))


def _around_blocks(model: nn.Module, wrapped: set[str]) -> list[str]:
    """Return the parameters of adapters that have blocks inside: prompts, which come before them.

    Args:
        model: that is adapted.
        wrapped: see `wrapped_modules`.
    """
    blocks = adaptable(model).blocks
    holding = [
        name
        for name in wrapped
        if any(within(block, (base_name(name, wrapped),)) and block != name for block in blocks)
    ]
    return [
        f"{name}.{own}"
        for name in holding
        for own, _ in model.get_submodule(name).named_parameters(recurse=False)
    ]


def _embeddings(model: nn.Module) -> list[str]:
    """Return the tables that a model looks its inputs up in, some of them beside its blocks."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Embedding)]
