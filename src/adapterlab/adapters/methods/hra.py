"""HRA: inputs go through a chain of reflections ahead of frozen weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import check_low_rank, kaiming
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import MatrixAdapter, OnLayers, Wrapping, require_linear
from adapterlab.adapters.weights import matrix, sizes, with_matrix
from adapterlab.base.errors import ConfigError


class HRALinear(MatrixAdapter):
    """HRA (Yuan et al. 2024, https://arxiv.org/abs/2405.17484).

    y = W H x + b with H = H_1 ... H_r and H_i = I - 2 û_i û_iᵀ, û_i being u_i by its norm: an
    orthogonal matrix, computed as I - Û T Ûᵀ with T⁻¹ what of ÛᵀÛ is above its diagonal, and ½ on
    it (Schreiber & Van Loan 1989), so that no d_in x d_in matrix is formed.

    Shapes: x [..., d_in], U [d_in, rank], T [rank, rank], y [..., d_out].

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: reflections, an even number: they start in pairs of equal ones, which undo each other.
        generator: CPU generator that U is drawn from; torch's default one when None.
    """

    def __init__(
        self, base: nn.Module, *, rank: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        weight = matrix(base)
        drawn = kaiming((weight.shape[1], rank // 2), weight, generator)
        self.hra_u = nn.Parameter(drawn.repeat_interleave(2, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        right, left = reflections(self.hra_u)
        return cast(Tensor, self.base(x - F.linear(F.linear(x, right), left)))

    def adapted_matrix(self) -> Tensor:
        """Return W H, [d_out, d_in]; gradients flow."""
        W, (right, left) = matrix(self.base), reflections(self.hra_u)
        return W - (W @ left) @ right

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with the reflections in its weight."""
        return with_matrix(self.base, self.adapted_matrix())

    def describe(self) -> str:
        """Say how many reflections there are."""
        return f"HRA, {self.hra_u.shape[1]} reflections"


def reflections(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return Ûᵀ and Û T of chains of reflections I - (Û T) Ûᵀ; T in float32 at least.

    Args:
        vectors: u_i in columns, [..., d, rank]; a column of zeros reflects nothing.

    Returns:
        [..., rank, d] and [..., d, rank].
    """
    norms = torch.linalg.vector_norm(vectors, dim=-2, keepdim=True)
    unit = vectors / torch.where(norms > 0, norms, 1)
    inverse = (unit.mT @ unit).triu(1).to(torch.promote_types(unit.dtype, torch.float32))
    inverse = inverse + 0.5 * torch.eye(unit.shape[-1], dtype=inverse.dtype, device=unit.device)
    # U T = (T⁻ᵀ Uᵀ)ᵀ.
    left = torch.linalg.solve_triangular(inverse.mT, unit.mT.to(inverse), upper=False).mT
    return unit.mT, left.to(unit.dtype)


@dataclass(frozen=True, kw_only=True)
class HRA(OnLayers):
    """Reflect the inputs of frozen layers, several times (Yuan et al. 2024, arXiv:2405.17484).

    Args:
        rank: reflections of each layer, an even number; rank · d_in parameters a layer.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, 1.0, 0.0)
        if self.rank % 2:
            raise ConfigError(
                f"adapter.rank={self.rank} must be even: reflections start in pairs that undo each "
                "other"
            )

    @property
    def least(self) -> int:
        """One pair."""
        return 2

    def most(self, model: nn.Module) -> int:
        """Return the even number with which any orthogonal matrix is within reach."""
        most = max(sizes(layer)[0] for layer in self.chosen(model).values())
        return most + most % 2

    def turned(self, value: int) -> Self:
        """Return the strategy with so many reflections, rounded down to pairs."""
        return replace(self, rank=value - value % 2)

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what reflects a layer's inputs."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("hra", name, layer)
            return HRALinear(layer, rank=self.rank, generator=generator)

        return wrap


class _PeftHRA(PlainMethod):
    """PEFT's HRA, of vectors that are not made orthogonal to each other first."""

    peft_type = "HRA"
    transposed = False
    counting: ClassVar[Mapping[str, Any]] = {"apply_GS": False, "bias": "none"}
    further: ClassVar[tuple[str, ...]] = ("r", "init_weights")

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many reflections there are."""
        rank = cast(HRA, adapted.strategy).rank
        return {"r": rank, "apply_GS": False, "init_weights": True, "bias": "none"}


METHODS[HRA] = _PeftHRA(HRALinear, {"hra_u": "hra_u"})
