"""Diff pruning in packs: a weight of each lane, by gates that it draws itself."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from adapterlab.adapters.methods.diff_pruning import DiffPruningLinear, gates
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.weights import matrix
from adapterlab.packing.dropout import LaneDropout
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.whole_weights import LaneWholeWeight


class LaneDiffPruningLinear(LaneWholeWeight):
    """K differences to one frozen weight (see `DiffPruningLinear`): W + z_k ∘ D_k.

    Shapes: D, its gates and which are kept ``[K, d_out, d_in]``, gates of the whole and whether
    lanes were cut ``[K, 1]``.
    """

    diff: Tensor
    diff_gate: Tensor
    diff_group: Tensor | None
    diff_kept: Tensor
    diff_cut: Tensor

    def __init__(self, modules: Sequence[DiffPruningLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.noise = LaneDropout([copy.deepcopy(module.noise) for module in modules], lanes)

    def adapted_matrices(self) -> Tensor:
        """Return W + z_k ∘ D_k."""
        of_each, of_group = self._draws() if self.training else (None, None)
        z = gates(self.diff_gate, of_each)
        if self.diff_group is not None:
            z = z * gates(self.diff_group, of_group)[:, :, None]
        z = torch.where(self.diff_cut[:, :, None] > 0, self.diff_kept, z)
        return matrix(self.base) + z * self.diff

    def _draws(self) -> tuple[Tensor, Tensor | None]:
        """Draw each lane's, as it draws alone."""
        streams = [cast(SeededDropout, one) for one in self.noise.of_lanes]
        each, group = [], []
        for stream, gate in zip(streams, self.diff_gate, strict=True):
            each.append(stream.uniform(gate))
            if self.diff_group is not None:
                group.append(stream.uniform(self.diff_group[0]))
        return torch.stack(each), torch.stack(group) if group else None


COUNTERPARTS[DiffPruningLinear] = LaneDiffPruningLinear
