"""K frozen updates of one frozen layer."""

from collections.abc import Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.methods.frozen_lora import FrozenLoRALinear
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneModule


class LaneFrozenLoRALinear(LaneModule):
    """K of them (see `FrozenLoRALinear`), of any ranks; one where all lanes have drawn the same.

    Shapes: x ``[K·B, ..., d_in]`` or shared, A ``[K, R, d_in]`` and B ``[K, d_out, R]`` for the
    largest rank R, or without K, y ``[K·B, ..., d_out]`` or shared.
    """

    base: nn.Module
    A: Tensor
    B: Tensor

    def __init__(self, modules: Sequence[FrozenLoRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = modules[0].base

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Leave the rank out."""
        return tuple(matrix(module.base).shape), module.base.bias is None

    @property
    def weight(self) -> Tensor:
        """The base's, for models that look at its type; to compute with it fails the trial."""
        return cast(Tensor, self.base.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, y = self.lanes, cast(Tensor, self.base(x))
        if not self.stacks:
            return y + F.linear(F.linear(x, self.A), self.B)
        A, B = (self.of_lanes(name).expand(lanes.count, -1, -1) for name in ("A", "B"))
        return lanes.join(lanes.add(y, lanes.linear(x, A) @ B.mT), y)


COUNTERPARTS[FrozenLoRALinear] = LaneFrozenLoRALinear
