"""K rotations ahead of one frozen layer."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.cayley import rotations
from adapterlab.adapters.methods.oft import OFTLinear, turns_weight
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneOFTLinear(LaneAdapter):
    """K OFT layers (see `OFTLinear`), in blocks of any sizes: rotated by lane, one product with W.

    Shapes: x ``[K·B, ..., d_in]`` or shared, oft_R of all lanes one after the other,
    y ``[K·B, ..., d_out]``.
    """

    flat = ("oft_R",)

    oft_R: Tensor  # noqa: N815  # the name of OFTLinear, and of its checkpoints

    def __init__(self, modules: Sequence[OFTLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.sizes = [module.block_size for module in modules]

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes = self.lanes
        if turns_weight(self.base, x, lanes.rows * math.prod(x.shape[1:-1])):
            base = cast(nn.Linear, self.base)
            y = lanes.linear(x, self._turned(base.weight[None], back=True))
            return lanes.join(y if base.bias is None else y + base.bias, x)
        return cast(Tensor, self.base(lanes.join(self._turned(lanes.flat(x)), x)))

    def _turned(self, rows: Tensor, *, back: bool = False) -> Tensor:
        """Return rows turned by each lane's R, or by its inverse.

        Args:
            rows: ``[K, N, d_in]``, or ``[1, N, d_in]`` where all share them.
            back: by Rᵀ.
        """
        stack, found = self.stacks["oft_R"], dict[int, Tensor]()
        if len(set(self.sizes)) == 1:
            R = self.oft_R.view(self.lanes.count, *stack.shapes[0])
            return _rotated(rows, rotations(R, self.sizes[0]).to(rows.dtype), back=back)
        for size in set(self.sizes):
            lanes = [k for k, own in enumerate(self.sizes) if own == size]
            R = torch.stack([stack.part(self.oft_R, k) for k in lanes])
            own_rows = rows if len(rows) == 1 else rows[lanes]
            parts = _rotated(own_rows, rotations(R, size).to(rows.dtype), back=back)
            found.update(zip(lanes, parts, strict=True))
        return torch.stack([found[k] for k in range(self.lanes.count)])

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.sizes = [self.sizes[k] for k in lanes]


def _rotated(rows: Tensor, R: Tensor, *, back: bool) -> Tensor:
    """Return rows ``[k, N, d]``, or ``[1, N, d]``, rotated by ``[k, n, b, b]``: ``[k, N, d]``."""
    lanes, blocks, size, _ = R.shape
    R = R.mT if back else R
    cut = rows.reshape(len(rows), -1, blocks, size)
    if len(rows) == 1:  # one product of each block with the rotations of all lanes
        beside = R.permute(1, 2, 0, 3).reshape(blocks, size, lanes * size)
        turned = (cut[0].transpose(0, 1) @ beside).view(blocks, -1, lanes, size)
        return turned.permute(2, 1, 0, 3).reshape(lanes, -1, blocks * size)
    return (cut.transpose(1, 2) @ R).transpose(1, 2).reshape(lanes, -1, blocks * size)


COUNTERPARTS[OFTLinear] = LaneOFTLinear
