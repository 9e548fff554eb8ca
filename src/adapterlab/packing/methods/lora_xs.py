"""LoRA-XS in packs: singular vectors of one weight serve lanes of all ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adapterlab.adapters.methods.lora_xs import LoRAXSLinear
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.nested import NestedLaneModule


class LaneLoRAXSLinear(NestedLaneModule):
    """K LoRA-XS updates of one frozen linear layer (see `LoRAXSLinear`), of any ranks.

    y_k = W x_k + b + B (s_k R_k) A dropout_k(x_k), with the singular vectors of the largest rank.

    Shapes: x ``[K·B, ..., d_in]`` or shared, A ``[R, d_in]``, B ``[d_out, R]`` for the largest rank
    R, the lanes' own matrices ``[K, R, R]``, y ``[K·B, ..., d_out]``.
    """

    nested = ("lora_A", "lora_B")

    lora_R: Tensor  # noqa: N815  # as LoRAXSLinear has it
    factor: Tensor

    def __init__(self, modules: Sequence[LoRAXSLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        # The scale within a lane's rank and 0 beyond, for the vectors there are another lane's.
        own = [torch.full_like(module.lora_R, module.scale) for module in modules]
        self.per_lane("factor", self.stacks["lora_R"].stacked(own))

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, R = self.lanes, self.factor * self.lora_R
        down = self.project(self.dropout(x), "lora_A")
        between = self.times_each(down, R)
        update = self.raise_to_outputs(between, "lora_B")
        return lanes.join(lanes.add(lanes.of_base(self.base, x), update), x)


COUNTERPARTS[LoRAXSLinear] = LaneLoRAXSLinear
