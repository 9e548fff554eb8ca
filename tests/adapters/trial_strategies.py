"""Strategies that only the tests know, of kinds that those of the program are not.

FirstUpdate has a first update of each seed's own that is subtracted, Bottleneck cannot be merged
and wraps any module. They stand in the table of laws like any other; their batched counterparts are
what a newcomer would write.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters import AdapterLayer, LoRA, LoRALinear, Strategy
from adapterlab.adapters.strategy import replace_module
from adapterlab.models.protocol import adaptable
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneLoRALinear, LaneModule


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


class BottleneckLayer(AdapterLayer):
    """A bottleneck behind any module (Houlsby et al. 2019, arXiv:1902.00751): h + U f(D h).

    Shapes: h [..., d], whatever the module gives; D [m, d], U [d, m].
    """

    mergeable = False

    def __init__(self, base: nn.Module, width: int, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        like_base = next(base.parameters())
        down = torch.empty(size, width, device=like_base.device)
        if not like_base.is_meta:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        self.down = nn.Parameter(down.to(like_base))
        self.up = nn.Parameter(torch.zeros(width, size).to(like_base))

    def forward(self, x: Tensor) -> Tensor:
        h = self.base(x)
        return cast(Tensor, h + F.linear(torch.tanh(F.linear(h, self.down)), self.up))

    def describe(self) -> str:
        return f"bottleneck {len(self.down)}"


@dataclass(frozen=True, kw_only=True)
class Bottleneck(Strategy):
    """Put a bottleneck behind every block, or behind the last layer in it."""

    dial: ClassVar[str | None] = "size"

    size: int = 2
    whole_blocks: bool = False

    @property
    def mergeable(self) -> bool:
        return False

    def most(self, model: nn.Module) -> int:
        return 64

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        for block in adaptable(model).blocks:
            inside = [
                name
                for name, module in model.get_submodule(block).named_modules(prefix=block)
                if list(module.parameters(recurse=False))
            ]
            width = cast(Tensor, model.get_submodule(inside[-1]).weight).shape[0]
            name = block if self.whole_blocks else inside[-1]
            layer = BottleneckLayer(model.get_submodule(name), width, self.size, generator)
            replace_module(model, name, layer)


class LaneBottleneckLayer(LaneModule):
    """K bottlenecks behind one frozen module, of any sizes."""

    base: nn.Module

    def __init__(self, modules: Sequence[BottleneckLayer], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = modules[0].base

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        return "down", "up", module.down.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        h = self.base(x)
        inner = torch.tanh(self.lanes.linear(h, self.of_lanes("down")))
        return self.lanes.join(self.lanes.add(h, inner @ self.of_lanes("up").mT), h)


COUNTERPARTS[FirstUpdateLinear] = LaneLoRALinear
COUNTERPARTS[BottleneckLayer] = LaneBottleneckLayer
