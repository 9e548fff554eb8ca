"""LoHa: an update that is the product, entry by entry, of two low-rank ones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from adapterlab.adapters.factors import alpha_kept, check_low_rank, kaiming, plain_number
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import OnLayers, WholeWeight, Wrapping, require_linear
from adapterlab.adapters.weights import matrix, sizes


class LoHaLinear(WholeWeight):
    """LoHa (Hyeon-Woo et al. 2022, https://arxiv.org/abs/2108.06098; LyCORIS, arXiv:2309.14859).

    y = (W + s · (B1 A1) ∘ (B2 A2)) x + b with s = alpha / rank: an update of rank up to rank².

    Shapes: x [..., d_in], W [d_out, d_in], B1 and B2 [d_out, rank], A1 and A2 [rank, d_in],
    y [..., d_out].

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: of each of the two.
        alpha: strength of the update.
        generator: CPU generator that B1, A1 and B2 are drawn from, as `nn.Linear` draws; torch's
            default one when None. A2 is zero.
    """

    matrices: ClassVar[int] = 6  # the two products, and their gradients

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        alpha: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base)
        self.rank, self.scale = rank, alpha / rank
        weight = matrix(base)
        d_out, d_in = weight.shape
        self.hada_w1_a = nn.Parameter(kaiming((d_out, rank), weight, generator))
        self.hada_w1_b = nn.Parameter(kaiming((rank, d_in), weight, generator))
        self.hada_w2_a = nn.Parameter(kaiming((d_out, rank), weight, generator))
        self.hada_w2_b = nn.Parameter(weight.new_zeros(rank, d_in))

    def adapted_matrix(self) -> Tensor:
        """Return W + s · (B1 A1) ∘ (B2 A2), [d_out, d_in]; gradients flow."""
        first, second = self.hada_w1_a @ self.hada_w1_b, self.hada_w2_a @ self.hada_w2_b
        return torch.addcmul(matrix(self.base), first, second, value=self.scale)

    def describe(self) -> str:
        """Say rank and scale."""
        return f"LoHa rank {self.rank}, scale {self.scale:g}"


@dataclass(frozen=True, kw_only=True)
class LoHa(OnLayers):
    """Add the product, entry by entry, of two low-rank updates (Hyeon-Woo et al. 2022).

    Args:
        rank: of each of the two; twice the parameters of LoRA of this rank.
        alpha: strength of the update, which is multiplied with alpha / rank.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 8
    alpha: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, self.alpha, 0.0)

    def most(self, model: nn.Module) -> int:
        """Return the rank from which on each of the two is any matrix."""
        return max(min(sizes(layer)) for layer in self.chosen(model).values())

    def turned(self, value: int) -> Self:
        """Return the strategy at another rank, with alpha such that its scale stays."""
        return replace(self, rank=value, alpha=alpha_kept(self.alpha, value, self.rank))

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what adds to a layer's weight."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("loha", name, layer)
            return LoHaLinear(layer, rank=self.rank, alpha=self.alpha, generator=generator)

        return wrap


class _PeftLoHa(PlainMethod):
    """PEFT's LOHA."""

    peft_type = "LOHA"
    transposed = False
    counting: ClassVar[Mapping[str, Any]] = {"r": 8, "alpha": 8}
    further: ClassVar[tuple[str, ...]] = (
        *("rank_dropout", "module_dropout", "use_effective_conv2d", "init_weights"),
    )

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return rank and alpha."""
        strategy: Any = adapted.strategy
        alpha = plain_number(strategy.alpha)
        return {"r": strategy.rank, "alpha": alpha, "init_weights": True}


METHODS[LoHa] = _PeftLoHa(
    LoHaLinear,
    {name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")},
)
