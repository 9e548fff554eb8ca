"""K sparse updates of one frozen layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adapterlab.adapters.methods.shira import SHiRALinear, in_rows
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.whole_weights import LaneWholeWeight


class LaneSHiRALinear(LaneWholeWeight):
    """K SHiRA layers (see `SHiRALinear`), of any numbers of entries, as K weights W + S_k.

    Shapes: x ``[K·B, ..., d_in]`` or shared, values ``[K, n]`` for the most entries n, their rows
    and columns ``[K, 2, n]``, or ``[2, n]`` where lanes share them, y ``[K·B, ..., d_out]``.
    """

    shira_weight: Tensor
    shira_indices: Tensor
    used: Tensor

    def __init__(self, modules: Sequence[SHiRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        counts = torch.tensor([len(module.shira_weight) for module in modules])
        used = torch.arange(int(counts.max())) < counts[:, None]
        self.per_lane("used", used.to(self.shira_weight))

    def adapted_matrices(self) -> Tensor:
        """Return W + S_k."""
        lanes, W = self.lanes, matrix(self.base)
        values = self.used * self.shira_weight  # padding has a place as well, and no gradient
        places = in_rows(self.of_lanes("shira_indices"), W).expand(lanes.count, -1)
        weights = W.reshape(1, -1).expand(lanes.count, -1).scatter_add(1, places, values)
        return weights.view(lanes.count, *W.shape)


COUNTERPARTS[SHiRALinear] = LaneSHiRALinear
