"""Inverses of many small matrices, computed side by side."""

from typing import cast

import torch
from torch import Tensor

_MANY = 80
"""Matrices from which on eliminating in all of them at once is quicker on a CPU.

Measured on one thread for sides of 16 to 64, float32: 224 matrices of 28 take 1.6 ms rather than
3.2 ms, 28 of them 0.8 ms rather than 0.4 ms.
"""


def inverses(matrices: Tensor) -> Tensor:
    """Return the inverses of matrices whose symmetric part is the identity, [..., b, b].

    LAPACK takes one matrix after the other. Many are eliminated in together here, numbers of one
    place beside each other, by Gauss and Jordan without exchanging rows: what is left after each
    step has a symmetric part of at least the identity again, so that no pivot is below 1.
    """
    count = matrices.shape[:-2].numel()
    if count < _MANY or matrices.device.type != "cpu":
        return cast(Tensor, torch.linalg.inv_ex(matrices).inverse)
    beside = matrices.flatten(0, -3).permute(1, 2, 0)  # [b, b, count]
    left = beside.clone(memory_format=torch.contiguous_format)
    for place in range(len(left)):
        pivot = left[place, place].reciprocal()
        row = left[place] * pivot
        row[place] = pivot
        column = left[:, place].clone()
        column[place] = 0
        left[:, place] = 0
        left.addcmul_(column[:, None], row[None], value=-1)
        left[place] = row
    # Beside each other, products with them would be taken one matrix at a time.
    return left.permute(2, 0, 1).contiguous().view(matrices.shape)
