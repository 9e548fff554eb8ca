"""K rotations ahead of one frozen layer."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from adapterlab.adapters.methods.oft import OFTLinear, rotations
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneOFTLinear(LaneAdapter):
    """K OFT layers (see `OFTLinear`), in blocks of any sizes: rotated by lane, one product with W.

    Rows that all lanes share are not rotated where they are more than those of W: W is, which is
    less work, and so is the product with all of it below each other.

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
        rows = self.lanes.flat(x)  # [K, N, d_in], or [1, N, d_in] where all share them
        if len(rows) == 1 and rows.shape[1] > len(matrix(self.base)):
            y = self.lanes.linear(x, self._of_lanes(_turned_back, matrix(self.base)[None]))
            bias = cast(Tensor | None, self.base.bias)
            return self.lanes.join(y if bias is None else y + bias, x)
        return cast(Tensor, self.base(self.lanes.join(self._of_lanes(_rotated, rows), x)))

    def _of_lanes(self, turned: Callable[[Tensor, Tensor], Tensor], rows: Tensor) -> Tensor:
        """Return what each lane's rotations make of rows ``[K, N, d_in]``, or of shared ones."""
        if len(set(self.sizes)) == 1:
            R = self.oft_R.view(self.lanes.count, *self.stacks["oft_R"].shapes[0])
            return turned(rows, rotations(R, self.sizes[0]).to(rows.dtype))
        stack, found = self.stacks["oft_R"], dict[int, Tensor]()
        for size in set(self.sizes):
            lanes = [k for k, own in enumerate(self.sizes) if own == size]
            R = torch.stack([stack.part(self.oft_R, k) for k in lanes])
            own_rows = rows if len(rows) == 1 else rows[lanes]
            parts = turned(own_rows, rotations(R, size).to(rows.dtype))
            found.update(zip(lanes, parts, strict=True))
        return torch.stack([found[k] for k in range(self.lanes.count)])

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.sizes = [self.sizes[k] for k in lanes]


def _rotated(rows: Tensor, R: Tensor) -> Tensor:
    """Return rows ``[k, N, d]``, or ``[1, N, d]``, rotated by ``[k, n, b, b]``: ``[k, N, d]``."""
    lanes, blocks, size, _ = R.shape
    cut = rows.reshape(len(rows), -1, blocks, size)
    if len(rows) == 1:  # one product of each block with the rotations of all lanes
        beside = R.permute(1, 2, 0, 3).reshape(blocks, size, lanes * size)
        turned = (cut[0].transpose(0, 1) @ beside).view(blocks, -1, lanes, size)
        return turned.permute(2, 1, 0, 3).reshape(lanes, -1, blocks * size)
    return (cut.transpose(1, 2) @ R).transpose(1, 2).reshape(lanes, -1, blocks * size)


def _turned_back(rows: Tensor, R: Tensor) -> Tensor:
    """Return shared rows, those of W, times Rᵀ: of fewer rows than W is multiplied with, W R."""
    return _rotated(rows, R.mT)


COUNTERPARTS[OFTLinear] = LaneOFTLinear
