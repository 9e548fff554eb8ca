"""K (IA)³ vectors over one frozen layer."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from adapterlab.adapters.methods.ia3 import IA3Linear
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneIA3Linear(LaneAdapter):
    """K (IA)³ layers (see `IA3Linear`); the product with W is one, of shared rows where it may be.

    Shapes: x ``[K·B, ..., d_in]`` or shared, l ``[K, d_out, 1]`` or ``[K, 1, d_in]``,
    y ``[K·B, ..., d_out]``.
    """

    ia3_l: Tensor

    def __init__(self, modules: Sequence[IA3Linear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.feedforward = modules[0].feedforward

    @classmethod
    def signature(cls, module: IA3Linear) -> tuple[object, ...]:
        """Add what is scaled."""
        return *super().signature(module), module.feedforward

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes = self.lanes
        if self.feedforward:
            return cast(Tensor, self.base(lanes.join(lanes.scaled(x, self.ia3_l, None), x)))
        y = lanes.of_base(self.base, x)
        return lanes.join(lanes.scaled(y, self.ia3_l.mT, None), y)


COUNTERPARTS[IA3Linear] = LaneIA3Linear
