"""What prefixes of texts and of images share: what of a model is frozen from its beginning."""

import torch

from adapterlab.adapters.frozen import frozen_depth
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.models.protocol import adaptable
from adapterlab.training.prefix.frozen_layers import FrozenLayers


class OffError(Exception):
    """There is no prefix; the text says why."""


def require_same(depth: int, apart: float, most: float) -> None:
    """Refuse a model that computes something else from features than from its inputs.

    Args:
        depth: of the features.
        apart: how far logits or gradients are apart, relative to the largest number.
        most: what rounding allows.

    Raises:
        OffError: they are farther apart, or no numbers.
    """
    if not apart <= most:  # which broken numbers are not either
        raise OffError(
            f"the model does not go on from layer {depth} alone: logits or gradients differ by "
            f"{apart:.0e}, rounding allows {most:.0e}"
        )


def require_read_again(noun: str, epochs: int, *, small: bool) -> None:
    """Refuse features that are read once, which nothing is won by unless they are small.

    Raises:
        OffError: they are.
    """
    if epochs == 1 and not small:
        raise OffError(f"one epoch reads each {noun} once")


def frozen_layers(adapted: AdaptedModel, device: torch.device, precision: str) -> FrozenLayers:
    """Return the frozen layers of a model, as far as its parts tell.

    Raises:
        OffError: it has none, or they are random.
    """
    if adapted.by_length:
        raise OffError("texts of each length are computed apart")
    depth = frozen_depth(adapted)
    model, kind = adaptable(adapted.model), type(adapted.model).__name__
    if model.hidden_states is None:
        raise OffError(f"{kind} gives no hidden states")
    if model.architecture is None:
        raise OffError(f"{kind} does not say what its hidden states depend on (architecture)")
    if not depth:
        raise OffError("the strategy trains or adapts the first layer")
    if model.frozen_dropout:
        raise OffError("model.frozen_dropout=true: the frozen layers' outputs are random")
    return FrozenLayers(adapted.model, depth, device, precision)
