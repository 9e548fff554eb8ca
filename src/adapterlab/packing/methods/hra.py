"""K chains of reflections ahead of one frozen layer."""

from typing import cast

from torch import Tensor

from adapterlab.adapters.methods.hra import HRALinear, reflections
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneHRALinear(LaneAdapter):
    """K HRA layers (see `HRALinear`), of any numbers of reflections; the product with W is one.

    Shapes: x ``[K·B, ..., d_in]`` or shared, U ``[K, d_in, R]`` for the most reflections R, where
    columns of zeros reflect nothing, y ``[K·B, ..., d_out]``.
    """

    hra_u: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, (right, left) = self.lanes, reflections(self.hra_u)
        reflected = lanes.add(x, -(lanes.linear(x, right) @ left.mT))
        return cast(Tensor, self.base(lanes.join(reflected, x)))


COUNTERPARTS[HRALinear] = LaneHRALinear
