"""Strategies that only the tests know, of kinds that those of the program are not.

VeRA has random projections that no seed of a run changes, FirstUpdate a first update of each seed's
own that is subtracted. They stand in the table of laws like any other; their batched counterparts
are what a newcomer would write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters import AdapterLayer, LoRA, LoRALinear, Strategy
from adapterlab.adapters.strategy import HeadMode, linear_layers, replace_module
from adapterlab.adapters.weights import with_matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneLoRALinear, LaneModule


class VeRALinear(AdapterLayer):
    """VeRA (Kopiczko et al. 2024, arXiv:2310.11454): y = W x + b + λ_b ∘ B (λ_d ∘ A x).

    Shapes: A [rank, d_in] and B [d_out, rank], frozen; λ_d [rank], λ_b [d_out].
    """

    base: nn.Linear

    def __init__(self, base: nn.Linear, A: Tensor, B: Tensor) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.keep_frozen("A", A.to(base.weight))
        self.keep_frozen("B", B.to(base.weight))
        self.d = nn.Parameter(torch.full_like(self.A[:, 0], 0.1))
        self.b = nn.Parameter(torch.zeros_like(self.B[:, 0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.b * F.linear(self.d * F.linear(x, self.A), self.B)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        return with_matrix(
            self.base, self.base.weight + self.b[:, None] * (self.B @ (self.d[:, None] * self.A))
        )

    def describe(self) -> str:
        return f"VeRA rank {len(self.d)}"


@dataclass(frozen=True, kw_only=True)
class VeRA(Strategy):
    """Scale frozen random projections; runs of all seeds share them."""

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "adapt", "freeze")
    dial: ClassVar[str | None] = "rank"

    rank: int = 4
    projection_seed: int = 0

    def most(self, model: nn.Module) -> int:
        return 64

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        layers = linear_layers(model, head=False)
        if self.head == "adapt":
            layers |= linear_layers(model, head=True)
        own = torch.Generator().manual_seed(self.projection_seed)
        d_in, d_out = (
            max(getattr(layer, side) for layer in layers.values())
            for side in ("in_features", "out_features")
        )
        meta = next(model.parameters()).is_meta
        A, B = (
            torch.empty(shape, device="meta") if meta else torch.randn(shape, generator=own)
            for shape in ((self.rank, d_in), (d_out, self.rank))
        )
        for name, layer in layers.items():
            slices = A[:, : layer.in_features], B[: layer.out_features]
            replace_module(model, name, VeRALinear(layer, *slices))


class LaneVeRALinear(LaneModule):
    """K VeRA updates of one frozen linear layer; A x is computed once where they share A."""

    base: nn.Linear
    d: Tensor
    b: Tensor

    def __init__(self, modules: Sequence[VeRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = modules[0].base

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        return "d", "b", tuple(module.base.weight.shape), module.base.bias is None

    def forward(self, x: Tensor) -> Tensor:
        lanes = self.lanes
        if "A" in self.stacks:
            down = lanes.linear(x, cast(Tensor, self.A))
        else:
            down = lanes.flat(F.linear(x, cast(Tensor, self.A)))
        up = (self.for_rows("d") * down) @ self.of_lanes("B").mT
        return lanes.join(lanes.add(self.base(x), self.for_rows("b") * up), x)


class FirstUpdateLinear(LoRALinear):
    """y = W x + b + s · (B A - B0 A0) x with A0 and B0 what A and B began with, both random."""

    def __init__(self, base: nn.Linear, *, saved: bool = False, **lora: Any) -> None:
        super().__init__(base, **lora)
        self.keep_frozen("first_A", self.lora_A.detach().clone(), saved=saved)
        self.keep_frozen("first_B", self.lora_B.detach().clone(), saved=saved)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x) if self.dropout.p else x
        update = F.linear(F.linear(x, self.lora_A), self.lora_B)
        first = F.linear(F.linear(x, self.first_A), self.first_B)
        return self.base(x) + self.scale * (update - first)

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        return super().merged_weight() - self.scale * self.first_B @ self.first_A

    def describe(self) -> str:
        return f"{super().describe()}, less the first"


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


class LaneFirstUpdateLinear(LaneLoRALinear):
    """K of them, of any ranks."""

    def forward(self, x: Tensor) -> Tensor:
        A, B = self.of_lanes("first_A"), self.of_lanes("first_B")
        first = self.lanes.linear(x, A.expand(self.lanes.count, -1, -1)) @ (self.scale * B).mT
        update = self.down(x) @ (self.scale * self.lora_B).mT
        return self.lanes.join(self.lanes.add(self.base(x), update - first), x)


COUNTERPARTS[VeRALinear] = LaneVeRALinear
COUNTERPARTS[FirstUpdateLinear] = LaneFirstUpdateLinear
