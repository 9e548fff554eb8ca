"""VeRA in packs: what the projection makes of the rows is computed once for all lanes."""

import copy
from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.methods.vera import VeRALinear
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneDropout, own_trained
from adapterlab.packing.nested import NestedLaneModule


class LaneVeRALinear(NestedLaneModule):
    """K VeRA updates of one frozen linear layer (see `VeRALinear`), of any ranks.

    y_k = W x_k + b + λ_bk ∘ B_k (λ_dk ∘ A_k x_k). A of a smaller rank is the beginning of that of
    a larger one with the same seed, so that A x is one product for all; B is shared by lanes of one
    rank and seed. Others have their own.

    Shapes: x ``[K·B, ..., d_in]`` or shared, A ``[R, d_in]`` and B ``[d_out, R]`` for the largest
    rank R (``[K, R, d_in]`` and ``[K, d_out, R]`` where they are not shared), λ_d ``[K, R]``,
    λ_b ``[K, d_out]``, y ``[K·B, ..., d_out]``.
    """

    nested = ("vera_A",)

    base: nn.Module
    vera_A: Tensor  # noqa: N815  # the names of VeRALinear, and of its checkpoints
    vera_B: Tensor  # noqa: N815
    vera_lambda_d: Tensor
    vera_lambda_b: Tensor

    def __init__(self, modules: Sequence[VeRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = modules[0].base
        self.dropout = LaneDropout([copy.deepcopy(module.dropout) for module in modules], lanes)

    @classmethod
    def signature(cls, module: VeRALinear) -> tuple[object, ...]:
        """Leave the rank out."""
        return own_trained(module), tuple(matrix(module.base).shape), module.base.bias is None

    @property
    def weight(self) -> Tensor:
        """The base's, for models that look at its type; to compute with it fails the trial."""
        return cast(Tensor, self.base.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, dropped = self.lanes, self.dropout(x)
        if self.is_shared("vera_A"):
            down = lanes.flat(F.linear(dropped, self.vera_A))
        else:
            down = lanes.linear(dropped, self.vera_A)
        down = self.vera_lambda_d[:, None] * down
        up = F.linear(down, self.vera_B) if self.is_shared("vera_B") else down @ self.vera_B.mT
        return lanes.join(lanes.add(self.base(x), self.vera_lambda_b[:, None] * up), x)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.dropout.keep(lanes)


COUNTERPARTS[VeRALinear] = LaneVeRALinear
