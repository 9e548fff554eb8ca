"""A strategy that only the tests know, of a kind that those of the program are not.

FirstUpdate has a first update of each seed's own that is subtracted. It stands in the table of laws
like any other; its batched counterpart is what a newcomer would write.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adapterlab.adapters import AdapterLayer, LoRA, LoRALinear
from adapterlab.packing.layers import COUNTERPARTS, LaneLoRALinear


class FirstUpdateLinear(LoRALinear):
    """y = W x + b + s · (B A - B0 A0) x with A0 and B0 what A and B began with, both random."""

    def __init__(self, base: nn.Linear, *, saved: bool = False, **lora: Any) -> None:
        super().__init__(base, **lora)
        self.subtract_first(saved=saved)


@dataclass(frozen=True, kw_only=True)
class FirstUpdate(LoRA):
    """LoRA from a first update that is subtracted: a lane's own, or saved with the adapter."""

    saved: bool = False

    def wrap(
        self, layer: nn.Linear, rank: int, alpha: float, generator: torch.Generator
    ) -> AdapterLayer:
        return FirstUpdateLinear(
            layer, saved=self.saved, rank=rank, alpha=alpha, scaling=self.scaling,
            init="both_normal", init_std=0.5, generator=generator,
        )  # fmt: skip


COUNTERPARTS[FirstUpdateLinear] = LaneLoRALinear
