"""K frozen updates of one frozen layer."""

import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.methods.frozen_lora import FrozenLoRALinear
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneFrozenLoRALinear(LaneAdapter):
    """K of them (see `FrozenLoRALinear`), of any ranks; one where all lanes have drawn the same.

    Shapes: x ``[K·B, ..., d_in]`` or shared, A ``[K, R, d_in]`` and B ``[K, d_out, R]`` for the
    largest rank R, or without K, y ``[K·B, ..., d_out]`` or shared.
    """

    A: Tensor
    B: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, y = self.lanes, self.lanes.of_base(self.base, x)
        if not self.stacks:
            return y + F.linear(F.linear(x, self.A), self.B)
        A, B = (self.of_lanes(name).expand(lanes.count, -1, -1) for name in ("A", "B"))
        return lanes.join(lanes.add(y, lanes.linear(x, A) @ B.mT), y)


COUNTERPARTS[FrozenLoRALinear] = LaneFrozenLoRALinear
