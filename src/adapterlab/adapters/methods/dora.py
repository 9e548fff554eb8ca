"""DoRA: the weight split into magnitude and direction, the direction adapted by LoRA."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.formats.low_rank import LowRank
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.methods.lora import LoRA, LoRAConv, LoRALinear
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.adapters.weights import base_of, matrix, with_matrix
from adapterlab.base.errors import ConfigError, allowed

Magnitude = Literal["per_output", "per_input"]
"""What the magnitude is a vector over: output features as in the paper, or input features."""


class DoRALinear(LoRALinear):
    """DoRA (Liu et al. 2024, https://arxiv.org/abs/2402.09353).

    y = (m / ‖W'‖) · (W' x) + b, with W' = W + s · B A and the norm of each row of W'. Where first
    values are subtracted (see `LoRALinear`), W' = W + s · (B A - B0 A0): m starts as ‖W‖ then too.

    The norm is a constant for the gradient (section 4.3 of the paper), the bias lies outside the
    rescaling, and m starts as ‖W'‖, so that the layer starts as the base layer. Dropout acts on
    the input of A only.

    Shapes: as LoRALinear; m and ‖W'‖ [d_out].

    Args:
        base: the layer to adapt; frozen here.
        magnitude: `per_output` as above. `per_input` normalises the columns instead, with m
            [d_in] and y = W' ((m / ‖W'‖) · x) + b: a known misreading, kept for reproducing
            results that were obtained with it.
        **lora: the other arguments of LoRALinear.

    Raises:
        ConfigError: an argument is outside its domain.
    """

    base_norm_sq: Tensor

    roles: ClassVar[Mapping[str, str]] = {**LoRALinear.roles, "magnitude": "magnitude"}

    def __init__(
        self, base: nn.Module, *, magnitude: Magnitude = "per_output", **lora: Any
    ) -> None:
        super().__init__(base, **lora)
        check_magnitude(magnitude)
        self.over_output = magnitude == "per_output"
        norm_axis = 1 if self.over_output else 0
        weight = matrix(base).detach()
        # Elementwise operations on the meta device load torch's compiler, which takes a second.
        without = torch.empty(weight.shape[1 - norm_axis], dtype=weight.dtype, device="meta")
        base_norm_sq = without if weight.is_meta else weight.square().sum(norm_axis)
        self.register_buffer("base_norm_sq", base_norm_sq, persistent=False)
        self.magnitude = nn.Parameter(without.clone() if weight.is_meta else self.weight_norm())

    @torch.no_grad()
    def weight_norm(self) -> Tensor:
        """Return ‖W'‖ of each row (column), without ever forming W'."""
        return self.norm_with(*self.factors())

    @torch.no_grad()
    def norm_with(self, A: Tensor, B: Tensor) -> Tensor:
        """Return ‖W + B A‖ of each row (column), of factors as matrices; B is scaled already."""
        norm_sq = norm_sq_of_rows if self.over_output else norm_sq_of_columns
        return root(norm_sq(matrix(self.base), A, B, self.base_norm_sq))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        rescale = self.magnitude / self.weight_norm()
        if not self.over_output:
            x = rescale * x
            return cast(Tensor, self.base(x) + self.update(x))
        y = rescale * (F.linear(x, matrix(self.base)) + self.update(x))
        bias = cast(Tensor | None, self.base.bias)
        return y if bias is None else y + bias

    def adapted_matrix(self) -> Tensor:
        """Return (m / ‖W'‖) · W', [d_out, d_in]; gradients flow."""
        rescale = self.magnitude.flatten() / self.weight_norm()
        return super().adapted_matrix() * (rescale[:, None] if self.over_output else rescale)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with weight (m / ‖W'‖) · W'."""
        rescale = self.magnitude.flatten() / self.weight_norm()
        return with_matrix(
            self.base,
            self.merged_weight() * (rescale[:, None] if self.over_output else rescale),
        )

    def describe(self) -> str:
        """Say rank and scale, and the axis when it is not the paper's."""
        axis = "" if self.over_output else ", magnitude per input"
        return f"DoRA rank {self.rank}, scale {self.scale:g}{axis}{self.start}"


class DoRAConv(LoRAConv, DoRALinear):
    """DoRA on a convolution, as `LoRAConv` is LoRA: norms are of all that makes one output.

    Shapes: as LoRAConv; m [1, d_out, 1...], ‖W'‖ [d_out].
    """

    def __init__(
        self, base: nn.Module, *, magnitude: Magnitude = "per_output", **lora: Any
    ) -> None:
        if magnitude == "per_input":
            raise ConfigError(
                "adapter.magnitude=per_input is of linear layers, and a target is a convolution; "
                "allowed: per_output"
            )
        super().__init__(base, magnitude=magnitude, **lora)
        self.magnitude = nn.Parameter(self._of_outputs(self.magnitude.data))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, d_in, places...] to [batch, d_out, places...]."""
        rescale = self.magnitude / self._of_outputs(self.weight_norm())
        y = rescale * (base_of(self.base, x) + self.update(x))
        bias = cast(Tensor | None, self.base.bias)
        return y if bias is None else y + self._of_outputs(bias)

    def _of_outputs(self, vector: Tensor) -> Tensor:
        return vector.view(1, -1, *(1,) * (self.lora_A.ndim - 2))


@dataclass(frozen=True, kw_only=True)
class DoRA(LoRA):
    """Adapt direction and magnitude of frozen weights apart (Liu et al. 2024, arXiv:2402.09353).

    Args:
        magnitude: `per_output`, the paper's, or `per_input`, a known misreading of it.
        **lora: as for LoRA.
    """

    kinds: ClassVar[tuple[type[LoRALinear], type[LoRALinear]]] = (DoRALinear, DoRAConv)

    magnitude: Magnitude = "per_output"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_magnitude(self.magnitude)

    def first_values(
        self, model: AdaptedModel, batches: Sequence[Any], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Add magnitudes where the weight does not start as the base's: they are its norms."""
        values = dict(super().first_values(model, batches, generator))
        for name, layer in model.model.named_modules():
            if isinstance(layer, DoRALinear) and not layer.less_first:
                A, B = (values[f"{name}.{own}"].flatten(1) for own in ("lora_A", "lora_B"))
                norm = layer.norm_with(A, layer.scale * B)
                values[f"{name}.magnitude"] = norm.view_as(layer.magnitude)
        return values

    def of_each_layer(self) -> dict[str, Any]:
        """Add the axis of the magnitude."""
        return {**super().of_each_layer(), "magnitude": self.magnitude}


METHODS[DoRA] = LowRank(
    DoRALinear,
    {**METHODS[LoRA].names, "magnitude": "lora_magnitude_vector"},
    dora=True,
    frozen=METHODS[LoRA].frozen,
)


def check_magnitude(magnitude: Magnitude) -> None:
    """Refuse a magnitude that names no axis.

    Raises:
        ConfigError: it is neither `per_output` nor `per_input`.
    """
    if magnitude not in get_args(Magnitude):
        raise ConfigError(
            f"adapter.magnitude={magnitude}; {allowed(magnitude, get_args(Magnitude))}"
        )


def norm_sq_of_rows(
    W: Tensor, A: Tensor, B: Tensor, W_norm_sq: Tensor, W_A: Tensor | None = None
) -> Tensor:
    """Return the squared norms of the rows of W + B A, in factored form; B is scaled already.

    ‖W‖² + Σ B∘(2 W Aᵀ + B (A Aᵀ)), with ‖W‖² given, and W Aᵀ if it is known.

    Shapes: W [d_out, d_in], A [..., rank, d_in], B and W Aᵀ [..., d_out, rank], norms [..., d_out].
    """
    with full_precision(W.device):
        if W_A is None:
            W_A = F.linear(A, W).mT
        return W_norm_sq + (B * torch.add(B @ (A @ A.mT), W_A, alpha=2)).sum(-1)


def norm_sq_of_columns(W: Tensor, A: Tensor, B: Tensor, W_norm_sq: Tensor) -> Tensor:
    """Return the squared norms of the columns of W + B A: the roles of A and B exchanged."""
    with full_precision(W.device):
        return W_norm_sq + (A * torch.add((B.mT @ B) @ A, B.mT @ W, alpha=2)).sum(-2)


def root(norm_sq: Tensor) -> Tensor:
    """Return norms from their squares, of which rounding may carry a tiny one below zero.

    A dead row has norm zero; it counts as the smallest number that can be divided by.
    """
    return norm_sq.clamp_min(torch.finfo(norm_sq.dtype).tiny).sqrt()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Keep autocast out: a norm summed in bfloat16 would be off in the third digit."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
