"""SVFT in packs: the singular vectors of a weight are there once, and V^T x is computed once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters.methods.svft import SVFTLinear, times_band, times_entries
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.nested import NestedLaneModule


class LaneSVFTLinear(NestedLaneModule):
    """K SVFT updates of one frozen linear layer (see `SVFTLinear`), of bands or of single entries.

    y_k = W x_k + b + U M_k V^T dropout_k(x_k). Where lanes have fewer entries than others, what is
    padded adds nothing: it is multiplied by 0, and so is its gradient.

    Shapes: x ``[K·B, ..., d_in]`` or shared, V^T ``[m, d_in]``, U ``[d_out, m]``, entries
    ``[K, n]`` for the most entries n, y ``[K·B, ..., d_out]``.
    """

    svft_M: Tensor  # noqa: N815  # as SVFTLinear has it
    svft_places: Tensor
    own: Tensor

    def __init__(self, modules: Sequence[SVFTLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.is_banded = modules[0].is_banded
        self.band = max(module.band for module in modules)
        # 1 for a lane's own entries and 0 beyond them, where there are another lane's.
        own = [torch.ones_like(module.svft_M) for module in modules]
        self.per_lane("own", self.stacks["svft_M"].stacked(own))

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Add whether the entries lie on diagonals."""
        return *super().signature(module), module.is_banded

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, entries = self.lanes, self.own * self.svft_M
        z = self.project(self.dropout(x), "svft_Vh")
        if self.is_banded:
            z = times_band(z, entries[:, None], self.band)
        else:
            places = self.of_lanes("svft_places").expand(entries.shape)
            z = times_entries(z, entries, places)
        update = self.raise_to_outputs(z, "svft_U")
        return lanes.join(lanes.add(lanes.of_base(self.base, x), update), x)


COUNTERPARTS[SVFTLinear] = LaneSVFTLinear
