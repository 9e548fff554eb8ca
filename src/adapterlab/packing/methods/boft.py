"""K butterflies of rotations ahead of one frozen layer."""

import math
from typing import cast

import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.methods.boft import BOFTLinear, turned
from adapterlab.adapters.methods.oft import turns_weight
from adapterlab.adapters.weights import matrix
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.rotated import LaneRotated


class LaneBOFTLinear(LaneRotated):
    """K BOFT layers (see `BOFTLinear`), of any blocks and factors; the product with W is one.

    Shapes: x ``[K·B, ..., d_in]`` or shared, boft_R of all lanes one after the other, boft_s
    ``[K, d_out]``, y ``[K·B, ..., d_out]``.
    """

    flat = ("boft_R",)
    rotated = "boft_R"
    turn = staticmethod(turned)

    boft_R: Tensor  # noqa: N815  # the names of BOFTLinear, and of its checkpoints
    boft_s: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, W = self.lanes, matrix(self.base)
        bias = cast(Tensor | None, self.base.bias)
        if turns_weight(self.base, x, lanes.rows * math.prod(x.shape[1:-1])):
            y = lanes.linear(x, self.turned(W[None], back=True) * self.boft_s[:, :, None])
        else:
            y = F.linear(self.turned(lanes.flat(x)), W) * self.boft_s[:, None]
        return lanes.join(y if bias is None else y + bias, x)


COUNTERPARTS[BOFTLinear] = LaneBOFTLinear
