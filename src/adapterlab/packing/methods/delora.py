"""DeLoRA in packs: the inputs are scaled once for all lanes that share them."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from adapterlab.adapters.methods.delora import DeLoRALinear, strengths
from adapterlab.packing.dropout import LaneDropout
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneDeLoRALinear(LaneAdapter):
    """K DeLoRA updates of one frozen linear layer (see `DeLoRALinear`), of any ranks and bounds.

    Shapes: x ``[K·B, ..., d_in]`` or shared, A ``[K, R, d_in]`` and B ``[K, d_out, R]`` for the
    largest rank R, λ ``[K, 1]``, w ``[d_in]``, y ``[K·B, ..., d_out]``.
    """

    delora_A: Tensor  # noqa: N815  # as DeLoRALinear has them
    delora_B: Tensor  # noqa: N815
    delora_lambda: Tensor
    delora_w_norm: Tensor
    ranks: Tensor
    bounds: Tensor

    def __init__(self, modules: Sequence[DeLoRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.dropout = LaneDropout([copy.deepcopy(module.dropout) for module in modules], lanes)
        for name, values in (
            ("ranks", [module.rank for module in modules]),
            ("bounds", [module.bound for module in modules]),
        ):
            tensor = self.delora_A.new_tensor(values)[:, None]
            self.per_lane(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, (A, B) = self.lanes, self.factors()
        down = lanes.linear(self.dropout(x) * self.delora_w_norm, A)
        return lanes.join(lanes.add(lanes.of_base(self.base, x), down @ B.mT), x)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A, and B times what is between them, with what is subtracted behind."""
        A, B = self.delora_A, self.delora_B
        B = B * strengths(A, B, self.delora_lambda / self.ranks)
        if "first_A" not in self.frozen:
            return A, B
        first_A, first_B = self.of_lanes("first_A"), self.of_lanes("first_B")
        first_B = first_B * strengths(first_A, first_B, self.bounds / self.ranks)
        return torch.cat((A, first_A.expand_as(A)), 1), torch.cat((B, -first_B), 2)


COUNTERPARTS[DeLoRALinear] = LaneDeLoRALinear
