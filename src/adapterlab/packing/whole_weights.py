"""K adapters of one frozen layer that compute with an adapted weight each."""

from abc import abstractmethod
from typing import cast

from torch import Tensor

from adapterlab.packing.layers import LaneAdapter


class LaneWholeWeight(LaneAdapter):
    """K layers that form their whole weight (see `WholeWeight`): of W, what they make of it.

    Shapes: x ``[K·B, ..., d_in]`` or shared, y ``[K·B, ..., d_out]``.
    """

    @abstractmethod
    def adapted_matrices(self) -> Tensor:
        """Return the weight of each lane, ``[K, d_out, d_in]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows by its own weight."""
        y = self.lanes.linear(x, self.adapted_matrices())
        bias = cast(Tensor | None, self.base.bias)
        return self.lanes.join(y if bias is None else y + bias, x)
