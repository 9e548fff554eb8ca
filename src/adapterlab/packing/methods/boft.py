"""K butterflies of rotations ahead of one frozen layer."""

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.cayley import rotations
from adapterlab.adapters.methods.boft import BOFTLinear, turned
from adapterlab.adapters.methods.oft import turns_weight
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneBOFTLinear(LaneAdapter):
    """K BOFT layers (see `BOFTLinear`), of any blocks and factors; the product with W is one.

    Shapes: x ``[K·B, ..., d_in]`` or shared, boft_R of all lanes one after the other, boft_s
    ``[K, d_out]``, y ``[K·B, ..., d_out]``.
    """

    flat = ("boft_R",)

    boft_R: Tensor  # noqa: N815  # the names of BOFTLinear, and of its checkpoints
    boft_s: Tensor

    def __init__(self, modules: Sequence[BOFTLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.sizes = [(module.factors, module.block_size) for module in modules]

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, W = self.lanes, matrix(self.base)
        bias = cast(Tensor | None, self.base.bias)
        if turns_weight(self.base, x, lanes.rows * math.prod(x.shape[1:-1])):
            y = lanes.linear(x, self._turned(W[None], back=True) * self.boft_s[:, :, None])
        else:
            y = F.linear(self._turned(lanes.flat(x)), W) * self.boft_s[:, None]
        return lanes.join(y if bias is None else y + bias, x)

    def _turned(self, rows: Tensor, *, back: bool = False) -> Tensor:
        """Return rows, ``[K, N, d_in]`` or shared as ``[1, N, d_in]``, turned by each lane's R."""
        stack, found = self.stacks["boft_R"], dict[int, Tensor]()
        for kind in dict.fromkeys(self.sizes):
            lanes = [k for k, own in enumerate(self.sizes) if own == kind]
            above = torch.stack([stack.part(self.boft_R, k) for k in lanes])
            R = rotations(above, kind[1]).to(rows.dtype)
            parts = turned(rows if len(rows) == 1 else rows[lanes], R, back=back)
            found.update(zip(lanes, parts, strict=True))
        return torch.stack([found[k] for k in range(self.lanes.count)])

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.sizes = [self.sizes[k] for k in lanes]


COUNTERPARTS[BOFTLinear] = LaneBOFTLinear
