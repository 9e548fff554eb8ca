"""MiSS in packs: sums of inputs are there once for all lanes of one rank that share their rows."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.methods.miss import MiSSLinear, summed
from adapterlab.packing.dropout import LaneDropout
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter


class LaneMiSSLinear(LaneAdapter):
    """K MiSS updates of one frozen linear layer (see `MiSSLinear`), of any ranks.

    Shapes: x ``[K·B, ..., d_in]`` or shared, D ``[K, R, d_out]`` for the largest rank R,
    y ``[K·B, ..., d_out]``.
    """

    miss_block: Tensor

    def __init__(self, modules: Sequence[MiSSLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.dropout = LaneDropout([copy.deepcopy(module.dropout) for module in modules], lanes)

    @property
    def ranks(self) -> list[int]:
        """The rank of each lane."""
        return [shape[0] for shape in self.stacks["miss_block"].shapes]

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, ranks = self.lanes, self.ranks
        rows, most = lanes.flat(self.dropout(x)), self.miss_block.shape[1]
        by_rank = {rank: _padded(summed(rows, rank), most) for rank in set(ranks)}
        if len(by_rank) == 1:
            (sums,) = by_rank.values()
        else:
            sums = torch.stack([_of_lane(by_rank[rank], k) for k, rank in enumerate(ranks)])
        return lanes.join(lanes.add(lanes.of_base(self.base, x), sums @ self.miss_block), x)


def _padded(sums: Tensor, most: int) -> Tensor:
    return F.pad(sums, (0, most - sums.shape[-1]))


def _of_lane(rows: Tensor, lane: int) -> Tensor:
    return rows[lane if len(rows) > 1 else 0]


COUNTERPARTS[MiSSLinear] = LaneMiSSLinear
