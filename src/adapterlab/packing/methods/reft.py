"""K edits of one frozen module's hidden states."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters.methods.reft import LoReFT, mask_of, orthonormal_rows
from adapterlab.models.forward_passes import SpeaksForBase
from adapterlab.packing.lanes import Lanes, LanesPart
from adapterlab.packing.layers import COUNTERPARTS, LaneModule, base_of_lanes, own_trained


class LaneLoReFT(SpeaksForBase, LaneModule):
    """K edits (see `LoReFT`), of any ranks and positions.

    Shapes: h ``[K·B, ..., d]`` or shared, R and W ``[K, r, d]`` for the largest rank r, b
    ``[K, r]``.
    """

    over_lanes = True
    rotation: Tensor
    source: Tensor
    source_bias: Tensor

    def __init__(self, modules: Sequence[LoReFT], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = base_of_lanes(modules, lanes)
        self.token_mask = modules[0].token_mask
        self.positions = [module.positions for module in modules]
        self.of_rank: Tensor
        ranks = torch.tensor([len(module.source) for module in modules], device=self.source.device)
        rows = torch.arange(self.source.shape[1], device=self.source.device)
        of_rank = (rows < ranks[:, None]).to(self.source)[..., None]
        self.per_lane("of_rank", of_rank)

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Leave out ranks and positions."""
        return own_trained(module), module.source.shape[1]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the base returns, each lane's hidden states edited."""
        output = self.base(*args, **kwargs)
        if isinstance(output, tuple):
            return self.edited(output[0]), *output[1:]
        return self.edited(output)

    def edited(self, h: Tensor) -> Tensor:
        """Return h' of each lane, ``[K·B, ..., d]``."""
        lanes = self.lanes
        # Padding reflects after all that is a lane's own, edits nothing and gets no gradient.
        R = orthonormal_rows(self.rotation * self.of_rank) * self.of_rank
        inner = lanes.linear(h, self.source - R) + self.source_bias[:, None]
        edit = inner @ R
        if any(positions is not None for positions in self.positions):
            edit = edit * self._chosen(h)
        return lanes.join(lanes.add(h, edit), h)

    def _chosen(self, h: Tensor) -> Tensor:
        """Say of every lane's tokens whether they are edited, ``[K, B·tokens, 1]``."""
        mask = mask_of(self.token_mask, h)
        if isinstance(self.lanes, LanesPart) and len(mask) != len(h):
            mask = self.lanes.rows_of(mask)
        masks = self.lanes.split(self.lanes.expand(mask))
        chosen = [
            torch.ones_like(mask, dtype=torch.bool)[..., None]
            if positions is None
            else positions.chosen(mask)
            for positions, mask in zip(self.positions, masks, strict=True)
        ]
        return torch.stack(chosen).flatten(1, 2)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.positions = [self.positions[lane] for lane in lanes]


COUNTERPARTS[LoReFT] = LaneLoReFT
