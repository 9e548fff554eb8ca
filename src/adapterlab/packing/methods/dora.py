"""Batched counterpart of DoRA's linear layers."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.methods.dora import (
    DoRALinear,
    full_precision,
    norm_sq_of_columns,
    norm_sq_of_rows,
    root,
)
from adapterlab.adapters.methods.lora import LoRALinear
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneLoRALinear, LaneModule


class LaneDoRALinear(LaneLoRALinear):
    """K DoRA updates of one frozen linear layer (see `DoRALinear`), of any ranks.

    y_k = (m_k / ‖W'_k‖) · (W'_k x_k) + b with W'_k = W + s_k · B_k A_k, norms per output or input.

    Shapes: as LaneLoRALinear; m ``[K, d_out]``, or ``[K, d_in]`` per input.
    """

    magnitude: Tensor
    base_norm_sq: Tensor

    def __init__(self, modules: Sequence[DoRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.over_output = modules[0].over_output
        self._room: Tensor | None = None
        self.register_buffer("base_norm_sq", modules[0].base_norm_sq, persistent=False)

    @classmethod
    def signature(cls, module: LoRALinear) -> tuple[object, ...]:
        """Add the axis of the norm."""
        return *super().signature(module), cast(DoRALinear, module).over_output

    @torch.no_grad()
    def weight_norm(self, B: Tensor) -> Tensor:
        """Return ‖W + B A‖ of each lane's rows (columns), ``[K, d_out]`` (``[K, d_in]``).

        Args:
            B: what `up` gives.
        """
        W, A = matrix(self.base), self._padded_once()
        if self.less_first:
            A = torch.cat((A, self._of_first(self.first_A).expand(len(A), -1, -1)), 1)
        if not self.over_output:
            return root(norm_sq_of_columns(W, A, B, self.base_norm_sq))
        with full_precision(W.device):
            # Most of the work, so without the padding.
            W_A = self.padded(F.linear(self.lora_A, W)).mT
            if self.less_first:
                W_first = self._of_first(F.linear(self.first_A, W)).expand(len(A), -1, -1)
                W_A = torch.cat((W_A, W_first.mT), -1)
        return root(norm_sq_of_rows(W, A, B, self.base_norm_sq, W_A))

    def _of_first(self, joined: Tensor) -> Tensor:
        """Return what is made of first As as ``[K, R, d]``, or ``[1, R, d]`` of one in common."""
        return self.padded(joined) if "first_A" in self.stacks else joined[None]

    def _padded_once(self) -> Tensor:
        """Return A padded, for what needs no gradient: in memory that every step uses again."""
        if self.places is None:
            return self.padded(self.lora_A)
        rows, width = self.lanes.count * self.lora_B.shape[-1], self.lora_A.shape[-1]
        room = self._room
        fits = room is not None and (room.shape, room.dtype, room.device) == (
            (rows, width), self.lora_A.dtype, self.lora_A.device,
        )  # fmt: skip
        # What inference mode has made cannot be written to outside of it.
        if room is None or not fits or room.is_inference():
            self._room = room = self.lora_A.new_zeros(rows, width)
        return room.index_copy_(0, self.places, self.lora_A).view(self.lanes.count, -1, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes, B = self.lanes, self.up()
        rescale = (self.magnitude / self.weight_norm(B))[:, None]
        if not self.over_output:
            scaled = lanes.join(rescale * lanes.flat(x), x)
            return lanes.join(lanes.add(self.base(scaled), self.down(scaled) @ B.mT), x)
        # B is rescaled rather than what it makes of the rows: it is smaller.
        bias = cast(Tensor | None, self.base.bias)
        of_lanes = isinstance(self.base, LaneModule)  # whose biases are trained
        y = lanes.scaled(
            lanes.frozen_linear(x, matrix(self.base)), rescale, None if of_lanes else bias
        )
        if of_lanes and bias is not None:
            y = y + bias[:, None]
        down, B = self.down(x), rescale.mT * B
        if torch.is_autocast_enabled(x.device.type):  # which leaves products in place as they are
            return lanes.join(y + down @ B.mT, x)
        return lanes.join(y.baddbmm_(down, B.mT), x)


COUNTERPARTS[DoRALinear] = LaneDoRALinear
