"""DeLoRA: a low-rank update whose size one trained number bounds, whatever its factors are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import check_low_rank, kaiming, plain_number
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import LinearAdapter, OnLayers, Wrapping, require_linear
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.base.errors import CheckpointError, ConfigError, allowed

Start = Literal["subtracted", "zero"]
"""B is drawn, and a frozen copy of the first update is subtracted; or B is zero."""

_LEAST = 1e-4
"""That a norm is divided by, as in PEFT."""


class DeLoRALinear(LinearAdapter):
    """DeLoRA (Bini et al. 2025, https://arxiv.org/abs/2503.18225).

    y = W x + b + U(dropout(x)) with U(x) = λ/r · B diag(1 / (‖a_i‖ ‖b_i‖)) A (w ∘ x), a_i the rows
    of A, b_i the columns of B and w the norms of W's columns: each of the r parts of U is as large
    as λ/r, whatever A and B are. With `start=subtracted` it is less a frozen copy of the first U.

    Shapes: x [..., d_in], A [rank, d_in], B [d_out, rank], λ [1], w [d_in], y [..., d_out].

    w is frozen state made from the base, and the first A and B from the seed; checkpoints hold
    their fingerprints.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: r.
        bound: first value of λ.
        start: see `Start`.
        dropout: probability of dropping an input of the update.
        generator: CPU generator that A and B are drawn from; torch's default one when None.
    """

    roles: ClassVar[Mapping[str, str]] = {
        **{"delora_A": "A", "delora_B": "B", "delora_lambda": "lambda"}
    }
    of_base: ClassVar[tuple[str, ...]] = ("delora_w_norm",)

    delora_w_norm: Tensor
    first_A: Tensor  # noqa: N815  # as LoRA calls them
    first_B: Tensor  # noqa: N815

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        bound: float,
        start: Start = "subtracted",
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base, dropout=dropout)
        (d_in, d_out), weight = sizes(base), matrix(base)
        self.rank, self.bound, self.less_first = rank, bound, start == "subtracted"
        self.keep_frozen("delora_w_norm", torch.linalg.vector_norm(weight.detach(), dim=0))
        self.delora_A = nn.Parameter(kaiming((rank, d_in), weight, generator))
        zero = weight.new_zeros(d_out, rank)
        B = kaiming((d_out, rank), weight, generator) if self.less_first else zero
        self.delora_B = nn.Parameter(B)
        self.delora_lambda = nn.Parameter(weight.new_full((1,), bound))
        if self.less_first:
            self.keep_frozen("first_A", self.delora_A.detach().clone())
            self.keep_frozen("first_B", self.delora_B.detach().clone())

    @property
    def inner(self) -> int:
        """Rows of the first factors."""
        return self.rank * (1 + self.less_first)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        A, B = self.factors()
        scaled = self.dropout(x) * self.delora_w_norm
        return cast(Tensor, self.base(x) + F.linear(F.linear(scaled, A), B))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A, and B times what is between them, with what is subtracted behind."""
        A: Tensor = self.delora_A
        B: Tensor = self.delora_B * strengths(A, self.delora_B, self.delora_lambda / self.rank)
        if not self.less_first:
            return A, B
        first = self.first_B * strengths(self.first_A, self.first_B, self.bound / self.rank)
        return torch.cat((A, self.first_A)), torch.cat((B, -first), 1)

    def adapted_matrix(self) -> Tensor:
        """Return W + U, [d_out, d_in]; gradients flow."""
        A, B = self.factors()
        return matrix(self.base) + B @ (A * self.delora_w_norm)

    def describe(self) -> str:
        """Say the rank, and the bound that it starts with."""
        return f"DeLoRA rank {self.rank}, bound {self.bound:g}"


def strengths(A: Tensor, B: Tensor, share: Tensor | float) -> Tensor:
    """Return share / (‖a_i‖ ‖b_i‖), [..., 1, rank].

    Args:
        A: [..., rank, d_in].
        B: [..., d_out, rank].
        share: of each part, λ / rank.
    """
    of_A, of_B = torch.linalg.vector_norm(A, dim=-1), torch.linalg.vector_norm(B, dim=-2)
    both: Tensor = of_A.clamp(min=_LEAST) * of_B.clamp(min=_LEAST)
    return (share / both)[..., None, :]


@dataclass(frozen=True, kw_only=True)
class DeLoRA(OnLayers):
    """Bound a low-rank update by one trained number a layer (Bini et al. 2025, arXiv:2503.18225).

    Args:
        rank: of the update.
        bound: first value of λ, which bounds how far a weight is moved, in its own size.
        start: see `Start`; `zero` is PEFT's, with which the first step goes as far as the bound.
        dropout: probability of dropping an input of the update.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 8
    bound: float = 15.0
    start: Start = "subtracted"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, 1.0, self.dropout)
        if not 0 < self.bound < math.inf:
            raise ConfigError(f"adapter.bound={self.bound:g} must be above 0 and finite")
        if self.start not in get_args(Start):
            raise ConfigError(f"adapter.start={self.start}; {allowed(self.start, get_args(Start))}")

    def most(self, model: nn.Module) -> int:
        """Return the largest rank that still adds expressiveness in some layer."""
        return max(min(sizes(layer)) for layer in self.chosen(model).values())

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what adds to what a layer gives."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("delora", name, layer)
            return DeLoRALinear(
                layer,
                rank=self.rank,
                bound=self.bound,
                start=self.start,
                dropout=self.dropout,
                generator=generator,
            )

        return wrap


class _PeftDeLoRA(PlainMethod):
    """PEFT's DELORA, which subtracts nothing."""

    peft_type = "DELORA"
    transposed = False
    counting: ClassVar[Mapping[str, Any]] = {"r": 8, "bias": "none"}
    further: ClassVar[tuple[str, ...]] = ("delora_lambda", "module_dropout", "init_weights")

    def lacking(self, strategy: Any) -> str | None:
        """PEFT starts with a B of zeros."""
        if strategy.start != "zero":
            return f"PEFT's DeLoRA has no start={strategy.start} (its own is adapter.start=zero)"
        return None

    def taken(self, layer: nn.Module, name: str, tensor: Tensor) -> dict[str, Tensor]:
        """Return all but the norms of the base, which the base has."""
        return {} if name == "delora_w_norm" else {name: tensor}

    def require_fit(self, layer: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
        """Refuse norms of another base."""
        own = cast(Tensor, layer.delora_w_norm)
        if not torch.allclose(tensors["delora_w_norm"].to(own), own, rtol=1e-4, atol=1e-6):
            raise CheckpointError(f"{what} was trained over another weight: delora_w_norm differs")

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return rank, dropout and the first bound."""
        strategy = cast(DeLoRA, adapted.strategy)
        return {
            **{"r": strategy.rank, "delora_lambda": plain_number(strategy.bound)},
            **{"module_dropout": strategy.dropout, "init_weights": True, "bias": "none"},
        }


_NAMES = ("delora_A", "delora_B", "delora_lambda", "delora_w_norm")

METHODS[DeLoRA] = _PeftDeLoRA(DeLoRALinear, {name: name for name in _NAMES})
