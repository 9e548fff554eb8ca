"""MiSS: one trained matrix that all groups of a layer's inputs share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import check_low_rank
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import LinearAdapter, OnLayers, Wrapping, require_linear
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.base.errors import CheckpointError, ConfigError


class MiSSLinear(LinearAdapter):
    """MiSS (Kang & Yin 2024, https://arxiv.org/abs/2409.15371), its efficient form.

    y = W x + b + Dᵀ S dropout(x): S adds up every rank-th input, S x_j = Σ_i x_(i·rank + j), with
    zeros after the last input where the rank does not divide them.

    Shapes: x [..., d_in], D [rank, d_out], y [..., d_out].

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: rows of D, which are zero at first; at most d_in.
        dropout: probability of dropping an input of S.
    """

    def __init__(self, base: nn.Module, *, rank: int, dropout: float = 0.0) -> None:
        super().__init__(base, dropout=dropout)
        _, d_out = sizes(base)
        self.miss_block = nn.Parameter(matrix(base).new_zeros(rank, d_out))

    @property
    def inner(self) -> int:
        """The rank."""
        return len(self.miss_block)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        sums = summed(self.dropout(x), len(self.miss_block))
        return cast(Tensor, self.base(x) + sums @ self.miss_block)

    def adapted_matrix(self) -> Tensor:
        """Return W + Dᵀ S, [d_out, d_in]; gradients flow."""
        W = matrix(self.base)
        rows = torch.arange(W.shape[1], device=W.device) % len(self.miss_block)
        return W + self.miss_block[rows].mT

    def describe(self) -> str:
        """Say the rank."""
        return f"MiSS rank {len(self.miss_block)}"


def summed(x: Tensor, rank: int) -> Tensor:
    """Return sums of every rank-th number, [..., d] to [..., rank]."""
    x = F.pad(x, (0, -x.shape[-1] % rank))
    return x.view(*x.shape[:-1], -1, rank).sum(-2)


@dataclass(frozen=True, kw_only=True)
class MiSS(OnLayers):
    """Train one matrix that groups of a layer's inputs share (Kang & Yin 2024, arXiv:2409.15371).

    Args:
        rank: how many groups there are; rank · d_out parameters a layer.
        dropout: probability of dropping an input of the update.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, 1.0, self.dropout)

    def most(self, model: nn.Module) -> int:
        """Return the inputs of the layer that has the fewest."""
        return min(sizes(layer)[0] for layer in self.chosen(model).values())

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what adds to what a layer gives."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("miss", name, layer)
            d_in, _ = sizes(layer)
            if self.rank > d_in:
                raise ConfigError(
                    f"adapter.rank={self.rank}: {name} has {d_in} inputs, which cannot be in more "
                    f"groups; allowed there: 1 to {d_in}"
                )
            return MiSSLinear(layer, rank=self.rank, dropout=self.dropout)

        return wrap


class _PeftMiSS(PlainMethod):
    """PEFT's MISS. Two of its ways to start are other methods, `bat` and `mini`."""

    peft_type = "MISS"
    transposed = False
    counting: ClassVar[Mapping[str, Any]] = {"bias": "none"}
    further: ClassVar[tuple[str, ...]] = ("r", "miss_dropout", "mini_r", "init_weights")

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the rank, which the tensors tell as well."""
        strategy = cast(MiSS, adapted.strategy)
        return {
            **{"r": strategy.rank, "miss_dropout": strategy.dropout},
            **{"init_weights": True, "bias": "none"},
        }

    def understood(self, config: dict[str, Any], path: Path) -> dict[str, Any]:
        """Refuse what computes something else."""
        if (start := config.get("init_weights")) not in (True, False, None):
            raise CheckpointError(
                f"{path.parent} holds PEFT's MISS with init_weights={start}, which is another "
                "update; allowed: true"
            )
        return super().understood(config, path)


METHODS[MiSS] = _PeftMiSS(MiSSLinear, {"miss_block": "miss_block"})
