"""Activation checkpointing: what blocks make of a batch is computed again for its gradients.

Between forward and backward pass, only the input of each block is kept (Chen et al. 2016,
https://arxiv.org/abs/1604.06174). Every draw is made again as it was, adapter dropout's included,
so that a training computes the same, to rounding.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.models.protocol import adaptable


@contextmanager
def recomputing(adapted: AdaptedModel, *, on: bool) -> Iterator[None]:
    """Let every block be computed again where gradients need what is in it.

    Args:
        adapted: a model with blocks.
        on: False leaves it as it is.
    """
    if not on:
        yield
        return
    names = adaptable(adapted.model).blocks
    blocks = [adapted.model.get_submodule(name) for name in names]
    config = getattr(getattr(adapted.model, "model", None), "config", None)
    caches = getattr(config, "use_cache", None)
    try:
        if caches:  # of keys and values, which a second pass would enter twice
            config.use_cache = False  # type: ignore[union-attr]
        for block in blocks:
            vars(block)["forward"] = _twice(block, block.forward)
        yield
    finally:
        if caches:
            config.use_cache = caches  # type: ignore[union-attr]
        for block in blocks:
            vars(block).pop("forward", None)


def _twice(block: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    dropouts = [module for module in block.modules() if isinstance(module, SeededDropout)]

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _drawing_again(dropouts, [one.place() for one in dropouts])

    def call(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    return call


@contextmanager
def _drawing_again(dropouts: list[SeededDropout], places: list[Any]) -> Iterator[None]:
    """Let dropouts draw what they drew, and leave their streams where they are."""
    now = [dropout.place() for dropout in dropouts]
    for dropout, place in zip(dropouts, places, strict=True):
        dropout.go_to(place)
    try:
        yield
    finally:
        for dropout, place in zip(dropouts, now, strict=True):
            dropout.go_to(place)
