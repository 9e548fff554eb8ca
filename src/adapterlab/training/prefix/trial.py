"""What prefixes of texts and of images share: what is frozen, and whether two outcomes are one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adapterlab.adapters.frozen import frozen_depth
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.models.protocol import adaptable
from adapterlab.training.prefix.frozen_layers import FrozenLayers


class OffError(Exception):
    """There is no prefix; the text says why."""


def frozen_layers(adapted: AdaptedModel, device: torch.device, precision: str) -> FrozenLayers:
    """Return the frozen layers of a model, as far as its parts tell.

    Raises:
        OffError: it has none, or they are random.
    """
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


def difference(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> float:
    """Return how far outcomes are apart: the largest difference over the largest number.

    A gradient counts by its own largest number; where that is tiny (an attention's key bias has
    none but rounding) by a hundredth of the largest of all gradients.
    """
    largest = [float(tensor.abs().max()) for tensor in expected]
    floor = max(largest[1:], default=0.0) / 100
    scales = [largest[0], *(max(one, floor) for one in largest[1:])]
    apart = [float((a - b).abs().max()) for a, b in zip(expected, actual, strict=True)]
    # Not a number counts as apart, and nothing over nothing does not.
    return max(
        0.0 if gap == 0 else gap / scale if scale and gap == gap else float("inf")
        for gap, scale in zip(apart, scales, strict=True)
    )
