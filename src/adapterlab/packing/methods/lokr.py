"""LoKr in packs: X of each row is there once for all lanes that share it."""

from collections.abc import Sequence

from torch import Tensor

from adapterlab.adapters.methods.lokr import LoKrLinear, factor_of
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneLoKrLinear(LaneAdapter):
    """K LoKr updates of one frozen linear layer (see `LoKrLinear`), of any ranks and scales.

    y_k = W x_k + b + s_k · C_k X_k D_kᵀ, with factors of one size in all lanes.

    Shapes: x ``[K·B, ..., d_in]`` or shared, C ``[K, l, m]``, D ``[K, k, n]``, of padded factors of
    their own where it is of low rank; y ``[K·B, ..., d_out]``.
    """

    scale: Tensor

    def __init__(self, modules: Sequence[LoKrLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.shape = modules[0].shape
        weight = next(self.parameters())
        scales = weight.new_tensor([module.scale for module in modules])
        self.per_lane("scale", scales[:, None, None])

    @classmethod
    def signature(cls, module: LoKrLinear) -> tuple[object, ...]:
        """Add the sizes of both factors."""
        return *super().signature(module), module.shape

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, (_, _, m, n) = self.lanes, self.shape
        C, D = self.scale * factor_of(self, "lokr_w1"), factor_of(self, "lokr_w2")
        inner = lanes.linear(x.reshape(*x.shape[:-1], m, n), D)  # [K, B·...·m, k]
        update = C[:, None] @ inner.reshape(lanes.count, -1, m, D.shape[1])
        return lanes.join(lanes.add(lanes.of_base(self.base, x), update.flatten(-2)), x)


COUNTERPARTS[LoKrLinear] = LaneLoKrLinear
