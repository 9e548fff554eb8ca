"""DVoRA: the weight split into magnitude and direction, the direction adapted by VeRA."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.methods.dora import norm_sq_of_rows, root
from adapterlab.adapters.methods.vera import VeRA, VeRALinear
from adapterlab.adapters.weights import matrix


class DVoRALinear(VeRALinear):
    """DVoRA (Liu et al. 2024, https://arxiv.org/abs/2402.09353, section 5.3).

    y = (m / ‖W'‖) · (W' x) + b, with W' = W + diag(λ_b) B diag(λ_d) A and the norms of its rows.

    The norm is a constant for the gradient, and the bias lies outside the rescaling, as in DoRA; m
    starts as ‖W‖. Dropout acts on the input of A only.

    Shapes: as VeRALinear; m and ‖W'‖ [d_out].
    """

    roles: ClassVar[Mapping[str, str]] = {**VeRALinear.roles, "magnitude": "magnitude"}

    base_norm_sq: Tensor

    def __init__(self, base: Any, A: Tensor, B: Tensor, **vera: Any) -> None:
        super().__init__(base, A, B, **vera)
        weight = matrix(base).detach()
        without = torch.empty(len(weight), dtype=weight.dtype, device="meta")
        norm_sq = without if weight.is_meta else weight.square().sum(1)
        self.register_buffer("base_norm_sq", norm_sq, persistent=False)
        self.magnitude = torch.nn.Parameter(without.clone() if weight.is_meta else root(norm_sq))

    @torch.no_grad()
    def weight_norm(self) -> Tensor:
        """Return ‖W'‖ of each row, without ever forming W'."""
        A = self.vera_lambda_d[:, None] * self.vera_A
        B = self.vera_lambda_b[:, None] * self.vera_B
        return root(norm_sq_of_rows(matrix(self.base), A, B, self.base_norm_sq))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        down = self.vera_lambda_d * F.linear(self.dropout(x), self.vera_A)
        update = self.vera_lambda_b * F.linear(down, self.vera_B)
        rescale = self.magnitude / self.weight_norm()
        y = rescale * (F.linear(x, matrix(self.base)) + update)
        bias = cast(Tensor | None, self.base.bias)
        return y if bias is None else y + bias

    def adapted_matrix(self) -> Tensor:
        """Return (m / ‖W'‖) · W', [d_out, d_in]; gradients flow."""
        return super().adapted_matrix() * (self.magnitude / self.weight_norm())[:, None]

    def describe(self) -> str:
        """Say the rank."""
        return f"DVoRA rank {len(self.vera_lambda_d)}"


@dataclass(frozen=True, kw_only=True)
class DVoRA(VeRA):
    """Adapt the magnitude of frozen weights, and their direction by VeRA (Liu et al. 2024).

    Args:
        head: see `VeRA`, whose options it has; the other places as well.
        **vera: likewise.
    """

    kind: ClassVar[type[VeRALinear]] = DVoRALinear
