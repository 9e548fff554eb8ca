"""K bottlenecks at one frozen layer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adapterlab.adapters.methods.bottleneck import FUNCTIONS, BottleneckLinear, Tapped
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneModule, base_of_lanes, own_trained


class LaneTapped(LaneModule):
    """A layer whose input is handed to the bottlenecks of K lanes."""

    over_lanes = True
    base: nn.Module

    def __init__(self, modules: Sequence[Tapped], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = base_of_lanes(modules, lanes)
        self.passed = modules[0].passed

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer returns."""
        self.passed.give(x)
        return self.lanes.of_base(self.base, x)


class LaneBottleneckLinear(LaneModule):
    """K bottlenecks at one frozen layer (see `BottleneckLinear`), of any sizes.

    y_k = h + s_k · (U_k f_k(D_k z + c_k) + e_k), with z the layer's output h or an input.

    Shapes: h and z ``[K·B, ..., d]`` or shared, D ``[K, M, d]`` for the largest size M, c
    ``[K, M]``, U ``[K, d_out, M]``, e ``[K, d_out]``, y ``[K·B, ..., d_out]``.
    """

    over_lanes = True
    base: nn.Module
    down: Tensor
    down_bias: Tensor
    up: Tensor
    up_bias: Tensor

    def __init__(self, modules: Sequence[BottleneckLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = base_of_lanes(modules, lanes)
        self.read = modules[0].read
        self.functions = [module.non_linearity for module in modules]
        self.scale: Tensor
        scales = self.up.new_tensor([module.scale for module in modules])
        self.per_lane("scale", scales[:, None, None])

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Leave out size, function and scale."""
        place = (module.beside, module.passed is not None)
        return own_trained(module), len(module.up), module.down.shape[1], *place

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes = self.lanes
        h = lanes.of_base(self.base, x)
        inner = self._applied(lanes.linear(self.read(x, h), self.down) + self.down_bias[:, None])
        up_bias = self.scale * self.up_bias[:, None]
        update = torch.baddbmm(up_bias, inner, (self.scale * self.up).mT)
        return lanes.join(lanes.add(h, update), h)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.functions = [self.functions[lane] for lane in lanes]

    def _applied(self, inner: Tensor) -> Tensor:
        """Return f_k of each lane's part of ``[K, N, M]``."""
        if len(set(self.functions)) == 1:
            return FUNCTIONS[self.functions[0]](inner)
        lanes = zip(self.functions, inner, strict=True)
        return torch.stack([FUNCTIONS[name](own) for name, own in lanes])


COUNTERPARTS[Tapped] = LaneTapped
COUNTERPARTS[BottleneckLinear] = LaneBottleneckLinear
