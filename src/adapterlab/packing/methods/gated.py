"""UniPELT's parts in packs: K updates, prefixes or bottlenecks at one place, each with its gate."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters.methods.gated import (
    GatedBottleneckLinear,
    GatedLoRALinear,
    GatedPrefixAttention,
    opened,
)
from adapterlab.adapters.methods.prefix import Rows, attended
from adapterlab.models.forward_passes import Passed
from adapterlab.packing.dropout import LaneDropout
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter
from adapterlab.packing.methods.bottleneck import LaneBottleneckLinear
from adapterlab.packing.methods.prefix import LanePrefixAttention


def gates(
    lanes: Lanes, x: Tensor, weight: Tensor, bias: Tensor, token_mask: Passed | None
) -> Tensor:
    """Return the gate of each lane's rows, as `opened` does.

    Args:
        lanes: of the pack.
        x: ``[K·B, tokens, d]`` or ``[K·B, d]``; or shared where there are no tokens.
        weight: ``[K, 1, d]``.
        bias: ``[K, 1]``.
        token_mask: see `opened`.
    """
    score = lanes.join(lanes.linear(x, weight) + bias[:, None], x)
    return opened(score, token_mask)


class LaneGatedLoRALinear(LaneAdapter):
    """K gated updates of one frozen linear layer (see `GatedLoRALinear`), of any ranks.

    y_k = W x_k + b + g_k · B_k A_k dropout_k(x_k).
    """

    lora_A: Tensor  # noqa: N815
    lora_B: Tensor  # noqa: N815
    gate_weight: Tensor
    gate_bias: Tensor

    def __init__(self, modules: Sequence[GatedLoRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.dropout = LaneDropout([copy.deepcopy(module.dropout) for module in modules], lanes)
        self.token_mask = modules[0].token_mask

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes = self.lanes
        update = lanes.linear(self.dropout(x), self.lora_A) @ self.lora_B.mT
        gate = gates(lanes, x, self.gate_weight, self.gate_bias, self.token_mask)
        update = lanes.flat(gate * lanes.join(update, x))
        return lanes.join(lanes.add(self.base(x), update), x)


class LaneGatedPrefixAttention(LanePrefixAttention):
    """K gated prefixes (see `GatedPrefixAttention`), of any lengths."""

    gate_weight: Tensor
    gate_bias: Tensor

    def __init__(self, modules: Sequence[GatedPrefixAttention], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.token_mask = modules[0].token_mask

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the attention returns for each lane's rows."""
        x = args[0] if args else kwargs["hidden_states"]
        gate = gates(self.lanes, x, self.gate_weight, self.gate_bias, self.token_mask)
        times = len(gate) // self.lanes.count
        key, value = (
            gate * part.repeat_interleave(times, 0) for part in (self.prefix_key, self.prefix_value)
        )
        real = None if self.even else self.real
        return attended(self.base, lambda: Rows(key, value, real), args, kwargs)


class LaneGatedBottleneckLinear(LaneBottleneckLinear):
    """K gated bottlenecks at one frozen layer (see `GatedBottleneckLinear`), of any sizes."""

    gate_weight: Tensor
    gate_bias: Tensor

    def __init__(self, modules: Sequence[GatedBottleneckLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.token_mask = modules[0].token_mask

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes = self.lanes
        h: Tensor = self.base(x)
        z = self.read(x, h)
        inner = self._applied(lanes.linear(z, self.down) + self.down_bias[:, None])
        up_bias = self.scale * self.up_bias[:, None]
        update = torch.baddbmm(up_bias, inner, (self.scale * self.up).mT)
        gate = gates(lanes, z, self.gate_weight, self.gate_bias, self.token_mask)
        update = lanes.flat(gate * lanes.join(update, h))
        return lanes.join(lanes.add(h, update), h)


COUNTERPARTS[GatedLoRALinear] = LaneGatedLoRALinear
COUNTERPARTS[GatedPrefixAttention] = LaneGatedPrefixAttention
COUNTERPARTS[GatedBottleneckLinear] = LaneGatedBottleneckLinear
