"""What a pack takes of memory, estimated from a model that has no weights yet."""

from dataclasses import dataclass

from torch import nn

from adapterlab.adapters.base import AdaptedModel, AdapterLayer, within
from adapterlab.adapters.frozen import frozen_depth

_KEPT_PER_OUTPUT = 3
"""Numbers kept for each output of a layer: itself, its gradient, and what a nonlinearity keeps."""


@dataclass(frozen=True)
class PackMemory:
    """Bytes of the parts of a pack, and how much of the model its lanes share.

    Attributes:
        base: the model's own weights, which are there once.
        trained: of one lane, with gradients, moments, and the copy of the best epoch.
        activations: of one lane's batch, through the layers that lanes do not share.
        own_weights: trained parameters of one lane that are the model's own, outside adapters.
        depth: frozen blocks before the first that is trained or adapted.
        blocks: of the model; both are 0 where lanes share rows whatever the blocks are.
    """

    base: int
    trained: int
    activations: int
    own_weights: int
    depth: int
    blocks: int

    def gib(self, lanes: int) -> float:
        """Return the estimate for a number of lanes, in GiB."""
        return (self.base + lanes * (self.trained + self.activations)) / 2**30


def pack_memory(
    adapted: AdaptedModel,
    *,
    batch_size: int,
    tokens: int,
    moments: int,
    bytes_per_number: int,
) -> PackMemory:
    """Estimate the memory of a pack; it works on the meta device.

    Args:
        adapted: the model of a lane.
        batch_size: rows of a batch.
        tokens: of a row; 1 where a row is one vector.
        moments: numbers that the optimizer keeps for each parameter.
        bytes_per_number: of weights and activations.
    """
    count = adapted.count()
    depth = frozen_depth(adapted)
    is_chain = getattr(adapted.model, "is_chain", False)
    blocks: tuple[str, ...] = () if is_chain else adapted.model.blocks  # type: ignore[assignment]
    shared = blocks[:depth]
    outputs = own = 0
    for name, module in adapted.model.named_modules():
        if isinstance(module, nn.Linear) and not within(name, shared):
            outputs += module.out_features
        if not isinstance(module, AdapterLayer) and not adapted.in_head(name):
            own += sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)
    return PackMemory(
        base=count.total * bytes_per_number,
        trained=count.trainable * bytes_per_number * (3 + moments),
        activations=batch_size * tokens * outputs * _KEPT_PER_OUTPUT * bytes_per_number,
        own_weights=own,
        depth=depth,
        blocks=len(blocks),
    )
