"""LoRA-XS: a trained r x r matrix between singular vectors of the weight, which are frozen."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.decomposition import decompose
from adapterlab.adapters.factors import Scaling, alpha_kept, check_low_rank, scale_factor
from adapterlab.adapters.strategy import replace_module
from adapterlab.adapters.targeted import LinearAdapter, OverLinear
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.base.errors import ConfigError


class LoRAXSLinear(LinearAdapter):
    """LoRA-XS (Bałazy et al. 2024, https://arxiv.org/abs/2405.17604).

    y = W x + b + s · B R A dropout(x), with A = S_r V_r^T and B = U_r of W = U S V^T, all frozen
    but R. The singular values are on the side of the inputs, as in the authors' code
    (https://github.com/MohammadrezaBanaei/LoRA-XS), which was read; the paper was not.

    Shapes: x [..., d_in], A [r, d_in], R [r, r], B [d_out, r], y [..., d_out].

    A and B are frozen state made from the base: checkpoints hold their fingerprints, and lanes of
    any ranks share those of the largest.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: r; all triples of W where it has fewer.
        alpha: strength of the update; `scaling` says how s comes from it and from the rank as it
            was asked for.
        scaling: see `Scaling`.
        init_std: standard deviation of the first R, which is normal.
        dropout: probability of dropping an input of A.
        generator: CPU generator that R is drawn from; torch's default one when None.
    """

    roles: ClassVar[Mapping[str, str]] = {"lora_R": "R"}
    singular = True

    lora_A: Tensor  # noqa: N815  # as LoRA calls them
    lora_B: Tensor  # noqa: N815

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        alpha: float,
        scaling: Scaling = "alpha_over_rank",
        init_std: float = 1e-5,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base, dropout=dropout)
        self.scale = scale_factor(scaling, alpha, rank)
        weight = matrix(base)
        of = decompose(weight)
        self.rank: int = min(rank, len(of.S))
        self.keep_frozen("lora_A", of.S[: self.rank, None] * of.Vh[: self.rank])
        self.keep_frozen("lora_B", of.U[:, : self.rank].clone())
        R = torch.empty(self.rank, self.rank, device="meta" if weight.is_meta else "cpu")
        if not weight.is_meta:
            nn.init.normal_(R, std=init_std, generator=generator)
        self.lora_R = nn.Parameter(R.to(weight))

    @property
    def inner(self) -> int:
        """The rank, to which A brings a row."""
        return self.rank

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        down = F.linear(self.dropout(x), self.lora_A)
        up = F.linear(F.linear(down, self.scale * self.lora_R), self.lora_B)
        return cast(Tensor, self.base(x) + up)

    def adapted_matrix(self) -> Tensor:
        """Return W + s · B R A, [d_out, d_in]; gradients flow."""
        return matrix(self.base) + self.lora_B @ (self.scale * self.lora_R) @ self.lora_A

    def describe(self) -> str:
        """Say rank and scale."""
        return f"LoRA-XS rank {self.rank}, scale {self.scale:g}"


@dataclass(frozen=True, kw_only=True)
class LoRAXS(OverLinear):
    """Train an r x r matrix between the leading singular vectors of each weight (LoRA-XS).

    Args:
        head: see `Targeted`; the other places as well.
        rank: r; r² numbers are trained a layer, whatever its size.
        alpha: strength of the update; with the default scaling s = alpha / rank, as in LoRA.
        scaling: `alpha_over_rank`, `alpha_over_sqrt_rank` or `alpha`.
        init_std: standard deviation of the first values; 0 for a start that is the base's.
        dropout: probability of dropping an input of the update.
        **targeted: see `Targeted`.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 25
    alpha: float = 16.0
    scaling: Scaling = "alpha_over_rank"
    init_std: float = 1e-5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, self.alpha, self.dropout)
        scale_factor(self.scaling, self.alpha, self.rank)
        if not 0 <= self.init_std < math.inf:
            raise ConfigError(f"adapter.init_std={self.init_std:g} must be 0 or more, and finite")

    def most(self, model: nn.Module) -> int:
        """Return the most singular values that a layer has."""
        return max(min(sizes(layer)) for layer in self.chosen(model).values())

    def turned(self, value: int) -> Self:
        """Return the strategy at another rank, with alpha such that the factor s stays."""
        before, after = (scale_factor(self.scaling, 1.0, rank) for rank in (self.rank, value))
        return replace(self, rank=value, alpha=alpha_kept(self.alpha, before, after))

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Wrap every targeted layer."""
        for name, layer in self.chosen(model).items():
            if self.rank > min(sizes(layer)):
                warnings.warn(
                    f"rank {self.rank} on {name} is above its smaller side: it has "
                    f"{min(sizes(layer))} singular vectors, and takes all",
                    stacklevel=2,
                )
            own = LoRAXSLinear(
                layer,
                rank=self.rank,
                alpha=self.alpha,
                scaling=self.scaling,
                init_std=self.init_std,
                dropout=self.dropout,
                generator=generator,
            )
            replace_module(model, name, own)
