"""Adapter dropout in packs: what each lane drops, it would drop alone."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.packing.lanes import Lanes


class LaneDropout(nn.Module):
    """The dropouts of K lanes; each draws from its own generator, what it would draw alone."""

    def __init__(self, dropouts: Sequence[SeededDropout], lanes: Lanes) -> None:
        super().__init__()
        self.lanes = lanes
        self.of_lanes = nn.ModuleList(dropouts)

    def forward(self, x: Tensor) -> Tensor:
        """Drop from ``[K·B, ...]``; shared rows stay shared where no lane drops any."""
        dropouts = [cast(SeededDropout, dropout) for dropout in self.of_lanes]
        if not self.training or not any(dropout.p for dropout in dropouts):
            return x
        rows = self.lanes.split(x)
        if self.lanes.is_shared(x):
            rows = rows[self.lanes.streams]
        return torch.cat([dropout(own) for dropout, own in zip(dropouts, rows, strict=True)])

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        self.of_lanes = nn.ModuleList(self.of_lanes[k] for k in lanes)
