"""LoRA-XS: a trained r x r matrix between singular vectors of the weight, which are frozen."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.decomposition import decompose
from adapterlab.adapters.factors import check_low_rank
from adapterlab.adapters.strategy import replace_module
from adapterlab.adapters.targeted import LinearAdapter, Targeted
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.base.errors import ConfigError


class LoRAXSLinear(LinearAdapter):
    """LoRA-XS (Bałazy et al. 2024, https://arxiv.org/abs/2405.17604).

    y = W x + b + s · B R A dropout(x), with A = V_r^T and B = U_r S_r of W = U S V^T, all frozen
    but R. The update is one of W's own leading directions.

    Shapes: x [..., d_in], A [r, d_in], R [r, r], B [d_out, r], y [..., d_out].

    A and B are frozen state made from the base: checkpoints hold their fingerprints, and lanes of
    any ranks share those of the largest.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: r; all triples of W where it has fewer.
        scale: s.
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
        scale: float = 1.0,
        init_std: float = 1e-5,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base, dropout=dropout)
        self.scale = scale
        weight = matrix(base)
        of, self.rank = decompose(weight), min(rank, *weight.shape)
        self.keep_frozen("lora_A", of.Vh[: self.rank].clone())
        self.keep_frozen("lora_B", of.U[:, : self.rank] * of.S[: self.rank])
        R = torch.empty(self.rank, self.rank, device="meta" if weight.is_meta else "cpu")
        if not weight.is_meta:
            nn.init.normal_(R, std=init_std, generator=generator)
        self.lora_R = nn.Parameter(R.to(weight))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        down = F.linear(self.dropout(x), self.lora_A)
        up = F.linear(F.linear(down, self.scale * self.lora_R), self.lora_B)
        return cast(Tensor, self.base(x) + up)

    def adapted_matrix(self) -> Tensor:
        """Return W + s · B R A, [d_out, d_in]; gradients flow."""
        return matrix(self.base) + self.lora_B @ (self.scale * self.lora_R) @ self.lora_A

    def describe(self) -> str:
        """Say the rank."""
        scale = "" if self.scale == 1 else f", scale {self.scale:g}"
        return f"LoRA-XS rank {self.rank}{scale}"


@dataclass(frozen=True, kw_only=True)
class LoRAXS(Targeted):
    """Train an r x r matrix between the leading singular vectors of each weight (LoRA-XS).

    Formula, first values and their deviation are those of the paper's abstract and method as they
    are widely cited; they were not checked against its text, nor was the scale, which the authors'
    code is said to take from LoRA (alpha / rank). Here it is an option, 1 by default.

    Args:
        head: see `Targeted`; the other places as well.
        rank: r; r² numbers are trained a layer, whatever its size.
        scale: what the update is multiplied by.
        init_std: standard deviation of the first values; 0 for a start that is the base's.
        dropout: probability of dropping an input of the update.
        **targeted: see `Targeted`.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 25
    scale: float = 1.0
    init_std: float = 1e-5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, 1.0, self.dropout)
        if not 0 < self.scale < math.inf:
            raise ConfigError(f"adapter.scale={self.scale:g} must be above 0 and finite")
        if not 0 <= self.init_std < math.inf:
            raise ConfigError(f"adapter.init_std={self.init_std:g} must be 0 or more, and finite")

    def most(self, model: nn.Module) -> int:
        """Return the most singular values that a layer has."""
        return max(min(sizes(layer)) for layer in self.linear_layers(model).values())

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Wrap every targeted layer."""
        for name, layer in self.linear_layers(model).items():
            if self.rank > min(sizes(layer)):
                warnings.warn(
                    f"rank {self.rank} on {name} is above its smaller side: it has "
                    f"{min(sizes(layer))} singular vectors, and takes all",
                    stacklevel=2,
                )
            own = LoRAXSLinear(
                layer,
                rank=self.rank,
                scale=self.scale,
                init_std=self.init_std,
                dropout=self.dropout,
                generator=generator,
            )
            replace_module(model, name, own)
