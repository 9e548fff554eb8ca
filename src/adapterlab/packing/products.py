"""Products of each lane's rows with a matrix of its own, and their gradients."""

from typing import Any, cast

import torch
from torch import Tensor


def lane_product(rows: Tensor, weight: Tensor) -> Tensor:
    """Return ``[K, N, d_in]`` times ``[K, d_out, d_in]``, ``[K, N, d_out]``.

    The gradient of a flat matrix is computed as a run alone computes it, gᵀ x. What autograd makes
    of a batched product is xᵀ g, transposed: long columns of few numbers, which takes several times
    as long, and a copy.
    """
    if weight.shape[-1] < weight.shape[-2] or torch.is_autocast_enabled(rows.device.type):
        return rows @ weight.mT
    return cast(Tensor, _LaneProduct.apply(rows, weight))  # type: ignore[no-untyped-call]


class _LaneProduct(torch.autograd.Function):
    """y = x Wᵀ, dx = g W, dW = gᵀ x, of each lane."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return rows @ weight.mT

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (of_y,), (rows, weight) = gradients, ctx.saved_tensors
        of_rows, of_weight = ctx.needs_input_grad
        return (
            of_y @ weight if of_rows else None,
            of_y.mT @ rows if of_weight else None,
        )
