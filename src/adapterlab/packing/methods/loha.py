"""LoHa in packs: a weight of each lane, of one W."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adapterlab.adapters.methods.loha import LoHaLinear
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.whole_weights import LaneWholeWeight


class LaneLoHaLinear(LaneWholeWeight):
    """K LoHa layers (see `LoHaLinear`), of any ranks and scales.

    Shapes: each factor ``[K, d_out, R]`` or ``[K, R, d_in]`` for the largest rank R.
    """

    hada_w1_a: Tensor
    hada_w1_b: Tensor
    hada_w2_a: Tensor
    hada_w2_b: Tensor
    scale: Tensor

    def __init__(self, modules: Sequence[LoHaLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        scales = self.hada_w1_a.new_tensor([module.scale for module in modules])
        self.per_lane("scale", scales[:, None, None])

    def adapted_matrices(self) -> Tensor:
        """Return W + s_k · (B1 A1)_k ∘ (B2 A2)_k."""
        first = (self.scale * self.hada_w1_a) @ self.hada_w1_b
        return torch.addcmul(matrix(self.base), first, self.hada_w2_a @ self.hada_w2_b)


COUNTERPARTS[LoHaLinear] = LaneLoHaLinear
