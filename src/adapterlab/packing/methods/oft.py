"""K rotations ahead of one frozen layer."""

import math
from typing import cast

from torch import Tensor, nn

from adapterlab.adapters.methods.oft import OFTLinear, turns_weight
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.rotated import LaneRotated


class LaneOFTLinear(LaneRotated):
    """K OFT layers (see `OFTLinear`), in blocks of any sizes: rotated by lane, one product with W.

    Shapes: x ``[K·B, ..., d_in]`` or shared, oft_R of all lanes one after the other,
    y ``[K·B, ..., d_out]``.
    """

    flat = ("oft_R",)
    rotated = "oft_R"

    oft_R: Tensor  # noqa: N815  # the name of OFTLinear, and of its checkpoints

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes = self.lanes
        if turns_weight(self.base, x, lanes.rows * math.prod(x.shape[1:-1])):
            base = cast(nn.Linear, self.base)
            y = lanes.linear(x, self.turned(base.weight[None], back=True))
            return lanes.join(y if base.bias is None else y + base.bias, x)
        return cast(Tensor, self.base(lanes.join(self.turned(lanes.flat(x)), x)))

    @staticmethod
    def turn(rows: Tensor, R: Tensor, *, back: bool) -> Tensor:
        """Return rows turned by ``[k, n, b, b]``, ``[k, N, d]``; see `LaneRotated.turn`."""
        lanes, blocks, size, _ = R.shape
        R = R.mT if back else R
        cut = rows.reshape(len(rows), -1, blocks, size)
        if len(rows) == 1:  # one product of each block with the rotations of all lanes
            beside = R.permute(1, 2, 0, 3).reshape(blocks, size, lanes * size)
            turned = (cut[0].transpose(0, 1) @ beside).view(blocks, -1, lanes, size)
            return turned.permute(2, 1, 0, 3).reshape(lanes, -1, blocks * size)
        return (cut.transpose(1, 2) @ R).transpose(1, 2).reshape(lanes, -1, blocks * size)


COUNTERPARTS[OFTLinear] = LaneOFTLinear
