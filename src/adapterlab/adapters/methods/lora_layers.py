"""LoRA's layers: a frozen layer plus a trained update of low rank."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import (
    SUBTRACTED,
    Init,
    Scaling,
    check_low_rank,
    initial_factors,
    scale_factor,
)
from adapterlab.adapters.first_updates import FROM_WEIGHT, from_weight
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.targeted import MatrixAdapter
from adapterlab.adapters.weights import convolve, matrix, sizes, with_matrix


class LoRALinear(MatrixAdapter):
    """LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    y = W x + b + s · B A dropout(x), with W and b frozen.

    First values that are an update already (see `first_updates`) are subtracted, as frozen state
    that is made again from W: y = W x + b + s · (B A - B0 A0) dropout(x).

    Shapes: x [..., d_in], W [d_out, d_in], A [rank, d_in], B [d_out, rank], y [..., d_out].

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: inner dimension of the update, at least 1. Above min(d_in, d_out) it works and adds
            parameters without adding expressiveness.
        alpha: strength of the update; `scaling` says how s comes from it.
        dropout: probability of dropping an input of A.
        scaling: see `Scaling`.
        init: see `Init`.
        init_std: standard deviation for `init="both_normal"`.
        generator: CPU generator that A and B are drawn from; torch's default one when None.

    Raises:
        ConfigError: an argument is outside its domain.
    """

    bias_apart = True
    roles: ClassVar[Mapping[str, str]] = {"lora_A": "A", "lora_B": "B"}

    first_A: Tensor  # noqa: N815
    first_B: Tensor  # noqa: N815

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        scaling: Scaling = "alpha_over_rank",
        init: Init = "kaiming",
        init_std: float = 0.01,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_low_rank(rank, alpha, dropout)
        self.base = base.requires_grad_(False)
        self.rank = rank
        self.scale = scale_factor(scaling, alpha, rank)
        self.dropout = SeededDropout(dropout)
        (d_in, d_out), weight = sizes(base), matrix(base)
        if weight.is_meta:  # no values, and no memory for them
            A, B = (torch.empty(*size, device="meta") for size in ((rank, d_in), (d_out, rank)))
        else:
            A, B = initial_factors(init, rank, d_in, d_out, init_std, generator)
        self.lora_A = nn.Parameter(A.to(weight))
        self.lora_B = nn.Parameter(B.to(weight))
        self.less_first = False
        if init in SUBTRACTED:
            if init in FROM_WEIGHT and not weight.is_meta:
                from_weight(init, weight, self.scale, self.lora_A.data, self.lora_B.data)
            self.subtract_first(saved=init not in FROM_WEIGHT)

    def subtract_first(self, *, saved: bool = False) -> None:
        """Keep frozen copies of A and B, whose update is subtracted from now on."""
        self.keep_frozen("first_A", self.lora_A.detach().clone(), saved=saved)
        self.keep_frozen("first_B", self.lora_B.detach().clone(), saved=saved)
        self.less_first = True

    def product(self, x: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Return B A x, [..., d_out]."""
        return F.linear(F.linear(x, A), B)

    def whole(self) -> tuple[Tensor, Tensor]:
        """Return A and B, with the first ones below and beside them where these are subtracted."""
        if not self.less_first:
            return self.lora_A, self.lora_B
        return torch.cat((self.lora_A, self.first_A)), torch.cat((self.lora_B, -self.first_B), 1)

    def update(self, x: Tensor) -> Tensor:
        """Return s · B A dropout(x), less the first update's, [..., d_out]."""
        return self.scale * self.product(self.dropout(x), *self.whole())

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A and s · B as matrices, of twice the rank where a first update is subtracted."""
        A, B = self.whole()
        return A.flatten(1), self.scale * B.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        return cast(Tensor, self.base(x) + self.update(x))

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """Return W + s · B A, less the first update, [d_out, d_in]."""
        A, B = self.factors()
        return matrix(self.base) + B @ A

    def adapted_matrix(self) -> Tensor:
        """Return the weight that the layer computes with, [d_out, d_in]; gradients flow."""
        A, B = self.factors()
        return matrix(self.base) + B @ A

    def merged(self) -> nn.Module:
        """Return the layer with the update added to its weight."""
        return with_matrix(self.base, self.merged_weight())

    def describe(self) -> str:
        """Say rank and scale, and whether the first update is subtracted."""
        return f"LoRA rank {self.rank}, scale {self.scale:g}{self.start}"

    @property
    def start(self) -> str:
        """What to say of first values that are subtracted."""
        return ", less the first update" if self.less_first else ""


class LoRAConv(LoRALinear):
    """LoRA on a convolution: A convolves as the base does, to `rank` channels, B mixes these.

    The weight as a matrix gets the update, W' = W + s · B A. Without groups, it is PEFT's. With
    them, every group's inputs meet the same A, so that W' is a weight of the base's shape; PEFT's
    update is none, and cannot be merged.

    Shapes: x [batch, channels, places...], W [d_out, d_in / groups, kernel...],
    A [rank, d_in / groups, kernel...], B [d_out, rank, 1...].
    """

    def __init__(self, base: nn.Module, **lora: Any) -> None:
        super().__init__(base, **lora)
        places = (1,) * (cast(Tensor, base.weight).ndim - 2)
        A, B = self.lora_A.data, self.lora_B.data
        self.lora_A = nn.Parameter(A.view(self.rank, *cast(Tensor, base.weight).shape[1:]))
        self.lora_B = nn.Parameter(B.view(*B.shape, *places))
        if self.less_first:
            self.subtract_first(saved=self.frozen["first_A"])

    def product(self, x: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Return B A x, [batch, d_out, places...]."""
        return convolve(self.base, x, A, B)
