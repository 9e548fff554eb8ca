"""K scales and shifts behind one frozen layer or norm."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from adapterlab.adapters.methods.ssf import SSFLayer
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneModule


class LaneSSFLayer(LaneModule):
    """K of them (see `SSFLayer`); the layer is computed once for rows that lanes share.

    Shapes: x ``[K·B, ...]`` or shared, γ and β ``[K, d]``, y ``[K·B, ...]``.
    """

    base: nn.Module
    scale: Tensor
    shift: Tensor | None

    def __init__(self, modules: Sequence[SSFLayer], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base, self.channels_first = modules[0].base, modules[0].channels_first

    @classmethod
    def signature(cls, module: SSFLayer) -> tuple[object, ...]:
        """Add what it is around."""
        weight = cast(Tensor, module.base.weight)
        return *super().signature(module), type(module.base).__name__, tuple(weight.shape)

    @property
    def weight(self) -> Tensor:
        """The base's, for models that look at its type; to compute with it fails the trial."""
        return cast(Tensor, self.base.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, y = self.lanes, self.lanes.of_base(self.base, x)
        if self.channels_first:
            shape = (lanes.count, 1, -1, *(1,) * (y.ndim - 2))
            rows = self.scale.view(shape) * lanes.split(lanes.expand(y))
            rows = rows if self.shift is None else rows + self.shift.view(shape)
            return rows.flatten(0, 1)
        scaled = lanes.scaled(y, self.scale[:, None], None)
        return lanes.join(scaled if self.shift is None else scaled + self.for_rows("shift"), y)


COUNTERPARTS[SSFLayer] = LaneSSFLayer
