"""DVoRA in packs: VeRA's, with the norms of each lane."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.methods.dora import full_precision, norm_sq_of_rows, root
from adapterlab.adapters.methods.dvora import DVoRALinear
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.methods.vera import LaneVeRALinear


class LaneDVoRALinear(LaneVeRALinear):
    """K DVoRA updates of one frozen linear layer (see `DVoRALinear`), of any ranks.

    y_k = (m_k / ‖W'_k‖) · (W x_k + λ_bk ∘ B_k (λ_dk ∘ A_k x_k)) + b.

    Shapes: as LaneVeRALinear; m ``[K, d_out]``.
    """

    magnitude: Tensor
    base_norm_sq: Tensor
    vera_A: Tensor  # noqa: N815
    vera_B: Tensor  # noqa: N815

    def __init__(self, modules: Sequence[DVoRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.register_buffer("base_norm_sq", modules[0].base_norm_sq, persistent=False)

    @torch.no_grad()
    def weight_norm(self) -> Tensor:
        """Return ‖W'‖ of each lane's rows, ``[K, d_out]``."""
        W, lambda_d = matrix(self.base), self.vera_lambda_d
        B = self.vera_lambda_b[..., None] * self.vera_B
        with full_precision(W.device):
            W_A = F.linear(self.vera_A, W).mT * lambda_d[:, None]
        A = lambda_d[..., None] * self.vera_A
        return root(norm_sq_of_rows(W, A, B, self.base_norm_sq, W_A))

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes = self.lanes
        down = self.vera_lambda_d[:, None] * self.project(self.dropout(x), "vera_A")
        up = self.vera_lambda_b[:, None] * self.raise_to_outputs(down, "vera_B")
        rescale = (self.magnitude / self.weight_norm())[:, None]
        y = rescale * lanes.add(F.linear(x, matrix(self.base)), up)
        bias = cast(Tensor | None, self.base.bias)
        return lanes.join(y if bias is None else y + bias, x)


COUNTERPARTS[DVoRALinear] = LaneDVoRALinear
