"""Rotations by Cayley's transform of skew matrices, many small ones at once."""

import math
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

_PIVOTS = 7
"""Rows that are eliminated at once: larger matrices take LAPACK more time than their size says."""

_SIZES = range(20, 65)
_COUNT = 24
"""Of which sizes, and from how many matrices on, `_eliminated` is quicker than LAPACK."""

_LARGEST = 16.0
"""Of a skew matrix, what its singular values may be at most for an elimination without pivots.

What is eliminated grows by their square at most, since its symmetric part stays positive.
"""


def rotations(above: Tensor, size: int) -> Tensor:
    """Return Cayley's rotations (I - Q)(I + Q)⁻¹, in float32 at least.

    Args:
        above: what of each skew matrix Q is above its diagonal, [..., size (size - 1) / 2], row by
            row.
        size: of the matrices.

    Returns:
        [..., size, size].
    """
    wide = above.to(torch.promote_types(above.dtype, torch.float32))
    return cast(Tensor, _Cayley.apply(wide, size))  # type: ignore[no-untyped-call]


class _Cayley(torch.autograd.Function):
    """R = (I - Q)(I + Q)⁻¹ = 2 M - I with M = (I + Q)⁻¹, so that dR = -2 M dQ M: one inverse."""

    @staticmethod
    def forward(ctx: Any, above: Tensor, size: int) -> Tensor:
        places = _places(size, above.device, above.dtype)
        entries = above.index_select(-1, places.of_entries)
        shifted = torch.addcmul(places.ones, entries, places.signs)
        inverse = _inverses(shifted.view(-1, size, size), above).view(*above.shape[:-1], size, size)
        ctx.save_for_backward(inverse)
        R = 2 * inverse
        R.diagonal(dim1=-2, dim2=-1).sub_(1)
        return R

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inverse,) = ctx.saved_tensors
        of_Q = (inverse.mT @ gradients[0] @ inverse.mT).flatten(-2)
        places = _places(inverse.shape[-1], of_Q.device, of_Q.dtype)
        below = of_Q.index_select(-1, places.below)
        return 2 * (below - of_Q.index_select(-1, places.above)), None


def _inverses(matrices: Tensor, above: Tensor) -> Tensor:
    """Return the inverses of I + Q, ``[n, size, size]``, which may be written to."""
    count, size, _ = matrices.shape
    if (
        matrices.device.type == "cpu"
        and size in _SIZES
        and count >= _COUNT
        and not torch.compiler.is_compiling()
        # Singular values come in pairs. A broken number is not below the limit either.
        and bool(torch.linalg.vector_norm(above, dim=-1).amax() <= _LARGEST)
    ):
        return _eliminated(matrices)
    return cast(Tensor, torch.linalg.inv_ex(matrices).inverse)


def _eliminated(matrices: Tensor) -> Tensor:
    """Invert I + Q in place, some rows of all matrices at a time.

    LAPACK inverts one matrix after the other, and of such sizes spends most of its time otherwise
    than on products. Pivots need not be looked for: whatever is left to eliminate has a symmetric
    part of I or more.
    """
    size = matrices.shape[-1]
    step = math.ceil(size / math.ceil(size / _PIVOTS))
    for start in range(0, size, step):
        pivots = slice(start, start + step)
        columns = matrices[:, :, pivots].clone()
        inverse = torch.linalg.inv_ex(columns[:, pivots]).inverse
        columns[:, pivots] = 0
        matrices[:, :, pivots] = 0
        rows = inverse @ matrices[:, pivots]
        rows[:, :, pivots] = inverse
        matrices.baddbmm_(columns, rows, alpha=-1)
        matrices[:, pivots] = rows
    return matrices


class _Places(NamedTuple):
    """Where entries of flat skew matrices are.

    Attributes:
        of_entries: for each entry of a matrix, which of those above its diagonal it is, but for its
            sign; any for the diagonal.
        signs: of each entry; 0 on the diagonal.
        ones: the identity.
        above: the entries above the diagonal, row by row.
        below: the entries opposite to these.
    """

    of_entries: Tensor
    signs: Tensor
    ones: Tensor
    above: Tensor
    below: Tensor


@cache
def _places(size: int, device: torch.device, dtype: torch.dtype) -> _Places:
    with torch.inference_mode(False):
        rows, columns = torch.triu_indices(size, size, 1, device=device)
        above, below = rows * size + columns, columns * size + rows
        of_entries = torch.zeros(size * size, dtype=torch.int64, device=device)
        of_entries[above] = of_entries[below] = torch.arange(len(above), device=device)
        signs = torch.zeros(size * size, dtype=dtype, device=device)
        signs[above], signs[below] = 1, -1
        ones = torch.eye(size, dtype=dtype, device=device).flatten()
        return _Places(of_entries, signs, ones, above, below)
