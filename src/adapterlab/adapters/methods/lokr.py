"""LoKr: an update that is a Kronecker product."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import alpha_kept, check_low_rank, kaiming, plain_number
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import LinearAdapter, OnLayers, Wrapping, require_linear
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.base.errors import ConfigError


class LoKrLinear(LinearAdapter):
    """LoKr (Yeh et al. 2024, https://arxiv.org/abs/2309.14859).

    y = W x + b + s · (C ⊗ D) x with s = alpha / rank. C is a matrix, or the product of two with
    `decompose_both`; D is the product of two of `rank` columns and rows, or a matrix where that has
    no more columns and rows than twice the rank. (C ⊗ D) x is C X Dᵀ of x as a matrix X.

    Shapes: x [..., d_in], W [d_out, d_in], C [l, m], D [k, n], y [..., d_out]; d_out = l · k,
    d_in = m · n.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: of D.
        alpha: strength of the update.
        factor: l and m, where it divides the sides; see `factorized`.
        decompose_both: C is the product of two as well, where the rank is below half its size.
        generator: CPU generator of the first values, drawn as `nn.Linear` draws its weight; torch's
            default one when None. C starts at zero.
    """

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        alpha: float,
        factor: int = -1,
        decompose_both: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base)
        self.rank, self.scale = rank, alpha / rank
        (d_in, d_out), weight = sizes(base), matrix(base)
        (m, n), (rows, k) = factorized(d_in, factor), factorized(d_out, factor)
        self.shape = rows, k, m, n
        if decompose_both and rank < max(rows, m) / 2:
            self.lokr_w1_a = nn.Parameter(weight.new_zeros(rows, rank))
            self.lokr_w1_b = nn.Parameter(kaiming((rank, m), weight, generator))
        else:
            self.lokr_w1 = nn.Parameter(weight.new_zeros(rows, m))
        if rank < max(k, n) / 2:
            self.lokr_w2_a = nn.Parameter(kaiming((k, rank), weight, generator))
            self.lokr_w2_b = nn.Parameter(kaiming((rank, n), weight, generator))
        else:
            self.lokr_w2 = nn.Parameter(kaiming((k, n), weight, generator))

    @property
    def inner(self) -> int:
        """What X Dᵀ has of numbers."""
        _, k, m, _ = self.shape
        return k * m

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        _, _, m, n = self.shape
        C, D = factor_of(self, "lokr_w1"), factor_of(self, "lokr_w2")
        inner = F.linear(x.view(*x.shape[:-1], m, n), D)
        return cast(Tensor, self.base(x) + (self.scale * C @ inner).flatten(-2))

    def adapted_matrix(self) -> Tensor:
        """Return W + s · C ⊗ D, [d_out, d_in]; gradients flow."""
        C, D = factor_of(self, "lokr_w1"), factor_of(self, "lokr_w2")
        return matrix(self.base) + self.scale * torch.kron(C, D.contiguous())

    def describe(self) -> str:
        """Say the shapes of both factors, and the rank where it counts."""
        rows, k, m, n = self.shape
        rank = f" of rank {self.rank}" if hasattr(self, "lokr_w2_a") else ""
        return f"LoKr, {rows}x{m} times {k}x{n}{rank}, scale {self.scale:g}"


def factor_of(layer: nn.Module, name: str) -> Tensor:
    """Return a factor of the Kronecker product, which is a parameter, or the product of two."""
    if hasattr(layer, name):
        return cast(Tensor, getattr(layer, name))
    return cast(Tensor, getattr(layer, f"{name}_a") @ getattr(layer, f"{name}_b"))


def factorized(number: int, factor: int) -> tuple[int, int]:
    """Return two numbers whose product is `number`, as LyCORIS and PEFT choose them.

    Args:
        number: a side of a weight.
        factor: the first of the two where it divides; else, the largest divisor up to it that is
            no larger than its counterpart. -1 for the largest such one.
    """
    if factor > 0 and number % factor == 0:
        return factor, number // factor
    most = number if factor < 0 else factor
    first = max(
        n for n in range(1, number + 1) if number % n == 0 and n * n <= number and n <= most
    )
    return first, number // first


@dataclass(frozen=True, kw_only=True)
class LoKr(OnLayers):
    """Add a Kronecker product of a matrix and a low-rank one (Yeh et al. 2024, arXiv:2309.14859).

    Args:
        rank: of the second factor; from half of its larger side on it is a matrix.
        alpha: strength of the update, which is multiplied with alpha / rank.
        factor: size of the first factor's sides; -1 for such that both factors are as square as the
            sides' divisors allow (PEFT's `decompose_factor`).
        decompose_both: the first factor is of low rank as well.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 8
    alpha: float = 8.0
    factor: int = -1
    decompose_both: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, self.alpha, 0.0)
        if self.factor < 1 and self.factor != -1:
            raise ConfigError(f"adapter.factor={self.factor} must be 1 or more, or -1")

    @property
    def steady(self) -> bool:
        """No: a matrix may have fewer numbers than two factors of one."""
        return False

    def most(self, model: nn.Module) -> int:
        """Return the rank from which on all second factors are matrices."""
        sides = (side for layer in self.chosen(model).values() for side in sizes(layer))
        return (max(factorized(side, self.factor)[1] for side in sides) + 1) // 2

    def turned(self, value: int) -> Self:
        """Return the strategy at another rank, with alpha such that its scale stays."""
        return replace(self, rank=value, alpha=alpha_kept(self.alpha, value, self.rank))

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what adds to what a layer gives."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("lokr", name, layer)
            return LoKrLinear(
                layer,
                rank=self.rank,
                alpha=self.alpha,
                factor=self.factor,
                decompose_both=self.decompose_both,
                generator=generator,
            )

        return wrap


class _PeftLoKr(PlainMethod):
    """PEFT's LOKR. How weights are cut into factors shows in the tensors."""

    peft_type = "LOKR"
    transposed = False
    counting: ClassVar[Mapping[str, Any]] = {"r": 8, "alpha": 8}
    further: ClassVar[tuple[str, ...]] = (
        *("rank_dropout", "rank_dropout_scale", "module_dropout", "use_effective_conv2d"),
        *("init_weights", "decompose_both", "decompose_factor"),
    )

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return rank, alpha, and how weights are cut."""
        strategy: Any = adapted.strategy
        return {
            **{"r": strategy.rank, "alpha": plain_number(strategy.alpha), "init_weights": True},
            **{"decompose_factor": strategy.factor, "decompose_both": strategy.decompose_both},
        }


_NAMES = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")

METHODS[LoKr] = _PeftLoKr(LoKrLinear, {name: name for name in _NAMES})
