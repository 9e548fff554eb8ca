"""HiRA: a frozen weight times a low-rank update, entry by entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.factors import check_low_rank, kaiming
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import OnLayers, WholeWeight, Wrapping, require_linear
from adapterlab.adapters.weights import is_transposed, matrix, sizes


class HiRALinear(WholeWeight):
    """HiRA (Huang et al. 2025, https://openreview.net/forum?id=TwJrTz9cRS).

    y = (W + W ∘ BA) x + b, with W and b frozen. Its update is of high rank where W is: the rank of
    W ∘ BA is up to the rank of A times that of W.

    Shapes: x [..., d_in], W [d_out, d_in], A [rank, d_in], B [d_out, rank], y [..., d_out].

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: rows of A.
        generator: CPU generator that A is drawn from; torch's default one when None. B is zero.
    """

    roles: ClassVar[Mapping[str, str]] = {"hira_A": "A", "hira_B": "B"}
    matrices: ClassVar[int] = 3  # and the gradient of BA

    def __init__(
        self, base: nn.Module, *, rank: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(base)
        self.rank = rank
        weight = matrix(base)
        d_out, d_in = weight.shape
        self.hira_A = nn.Parameter(kaiming((rank, d_in), weight, generator))
        self.hira_B = nn.Parameter(weight.new_zeros(d_out, rank))

    def adapted_matrix(self) -> Tensor:
        """Return W + W ∘ BA, [d_out, d_in]; gradients flow."""
        W = matrix(self.base)
        return torch.addcmul(W, W, self.hira_B @ self.hira_A)

    def describe(self) -> str:
        """Say the rank of BA."""
        return f"HiRA rank {self.rank}"


@dataclass(frozen=True, kw_only=True)
class HiRA(OnLayers):
    """Multiply each weight by a low-rank update, entry by entry (Huang et al. 2025).

    Args:
        rank: of what the weight is multiplied with; as many parameters as LoRA of this rank.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, 1.0, 0.0)

    def most(self, model: nn.Module) -> int:
        """Return the rank from which on what a weight is multiplied with is any matrix."""
        return max(min(sizes(layer)) for layer in self.chosen(model).values())

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what multiplies a layer's weight."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("hira", name, layer)
            return HiRALinear(layer, rank=self.rank, generator=generator)

        return wrap


class _PeftHiRA(PlainMethod):
    """PEFT's HIRA."""

    peft_type = "HIRA"
    further: ClassVar[tuple[str, ...]] = ("r", "hira_dropout", "init_weights", "rank_pattern")

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the rank, which the tensors tell as well."""
        return {
            "r": cast(HiRA, adapted.strategy).rank,
            "init_weights": True,
            "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
        }


METHODS[HiRA] = _PeftHiRA(HiRALinear, {name: name for name in ("hira_A", "hira_B")})
