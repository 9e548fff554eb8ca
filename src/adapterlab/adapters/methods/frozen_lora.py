"""Frozen LoRA: updates that are drawn and never trained. A control, and no way to fine-tune."""

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.strategy import AdapterLayer, HeadMode
from adapterlab.adapters.targeted import MatrixAdapter, OnLayers, Wrapping, require_linear
from adapterlab.adapters.weights import matrix, sizes, with_matrix
from adapterlab.base.errors import ConfigError


class FrozenLoRALinear(MatrixAdapter):
    """y = W x + b + B A x with A and B drawn, nothing trained, and ‖B A‖ a share of ‖W‖.

    Shapes: x [..., d_in], W [d_out, d_in], A [rank, d_in], B [d_out, rank], y [..., d_out].

    Args:
        base: the layer, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: of the update.
        size: its Frobenius norm, as a share of W's.
        generator: CPU generator that A and B are drawn from.
    """

    A: Tensor
    B: Tensor

    def __init__(
        self, base: nn.Module, *, rank: int, size: float, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.rank, self.size = rank, size
        (d_in, d_out), W = sizes(base), matrix(base).detach()
        if W.is_meta:
            A, B = W.new_empty(rank, d_in), W.new_empty(d_out, rank)
        else:
            A, B = (
                torch.randn(shape, generator=generator) for shape in ((rank, d_in), (d_out, rank))
            )
            A, B = A.to(W), B.to(W)
            B *= size * W.norm() / (B @ A).norm()
        self.keep_frozen("A", A)
        self.keep_frozen("B", B)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        return cast(Tensor, self.base(x) + F.linear(F.linear(x, self.A), self.B))

    def adapted_matrix(self) -> Tensor:
        """Return W + B A."""
        return matrix(self.base) + self.B @ self.A

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with the update added to its weight."""
        return with_matrix(self.base, self.adapted_matrix())

    def describe(self) -> str:
        """Say rank and size."""
        return f"LoRA rank {self.rank}, drawn and frozen, {self.size:g} of the weight"


@dataclass(frozen=True, kw_only=True)
class FrozenLoRA(OnLayers):
    """Train the head over low-rank updates that stay as each seed draws them.

    What a trained adapter gains over this, it has learnt; what this gains over `head` is chance.

    Args:
        rank: of the updates.
        size: Frobenius norm of an update, as a share of its weight's.
        **targeted: `targets` and `layers`, as for LoRA; `head` is `train`.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train",)

    rank: int = 8
    size: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise ConfigError(f"adapter.rank={self.rank} must be 1 or more")
        if not 0 < self.size < math.inf:
            raise ConfigError(f"adapter.size={self.size:g} must be above 0 and finite")

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what adds an update to a layer."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("frozen_lora", name, layer)
            return FrozenLoRALinear(layer, rank=self.rank, size=self.size, generator=generator)

        return wrap
