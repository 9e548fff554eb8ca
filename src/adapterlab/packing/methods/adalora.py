"""AdaLoRA in packs: each lane has its ranks, its importances and its budget."""

from collections.abc import Sequence

from torch import Tensor

from adapterlab.adapters.methods.adalora import AdaLoRALinear
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.nested import NestedLaneModule


class LaneAdaLoRALinear(NestedLaneModule):
    """K AdaLoRA updates of one frozen linear layer (see `AdaLoRALinear`), of any ranks.

    y_k = W x_k + b + s_k · B_k diag(E_k) A_k dropout_k(x_k).

    Shapes: x ``[K·B, ..., d_in]`` or shared, A ``[K, R, d_in]``, E ``[K, R, 1]``, B
    ``[K, d_out, R]`` for the largest rank R, y ``[K·B, ..., d_out]``.
    """

    lora_A: Tensor  # noqa: N815  # the names of AdaLoRALinear, and of its checkpoints
    lora_B: Tensor  # noqa: N815
    lora_E: Tensor  # noqa: N815
    scale: Tensor

    def __init__(self, modules: Sequence[AdaLoRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        scales = self.lora_B.new_tensor([module.scale for module in modules])
        self.per_lane("scale", scales[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        down = self.lanes.linear(self.dropout(x), self.lora_E * self.lora_A)
        update = down @ (self.scale * self.lora_B).mT
        return self.lanes.join(self.lanes.add(self.lanes.of_base(self.base, x), update), x)


COUNTERPARTS[AdaLoRALinear] = LaneAdaLoRALinear
