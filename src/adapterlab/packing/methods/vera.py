"""VeRA in packs: what the projection makes of the rows is computed once for all lanes."""

from torch import Tensor

from adapterlab.adapters.methods.vera import VeRALinear
from adapterlab.packing.layers import COUNTERPARTS
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

    vera_lambda_d: Tensor
    vera_lambda_b: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        down = self.vera_lambda_d[:, None] * self.project(self.dropout(x), "vera_A")
        up = self.vera_lambda_b[:, None] * self.raise_to_outputs(down, "vera_B")
        return self.lanes.join(self.lanes.add(self.lanes.of_base(self.base, x), up), x)


COUNTERPARTS[VeRALinear] = LaneVeRALinear
