"""Batched counterparts of LoRA-FA, whose A is frozen: each lane's own, or one that lanes share."""

from torch import Tensor

from adapterlab.adapters.methods.lora_fa import LoRAFAConv, LoRAFALinear
from adapterlab.packing.convolutions import LaneLoRAConv
from adapterlab.packing.layers import COUNTERPARTS, LaneLoRALinear


class LaneLoRAFALinear(LaneLoRALinear):
    """K LoRA-FA updates of one frozen linear layer; A x is computed once where they share A.

    Shapes: as LaneLoRALinear; A ``[r, d_in]`` where lanes share it.
    """

    def _find_places(self) -> None:
        if "lora_A" in self.stacks:
            super()._find_places()
        else:
            self.register_buffer("places", None, persistent=False)


class LaneLoRAFAConv(LaneLoRAConv):
    """K LoRA-FA updates of one frozen convolution."""

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A ``[K, R, d_in, kernel...]``, also where lanes share it, and s · B."""
        A, B = super().factors()
        if "lora_A" not in self.stacks:
            A = A.expand(self.lanes.count, *A.shape)
        return A, B


COUNTERPARTS |= {LoRAFALinear: LaneLoRAFALinear, LoRAFAConv: LaneLoRAFAConv}
