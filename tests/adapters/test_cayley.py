"""Rotations of many matrices at once, and of the weight in place of the input."""

import pytest
import torch
from torch import nn

from adapterlab.adapters.cayley import rotations
from adapterlab.adapters.methods.oft import OFTLinear, turns_weight


@pytest.mark.parametrize("size", [28, 32, 20, 64])
@pytest.mark.parametrize("spread", [0.01, 0.3, 0.8, 30.0])
def test_many_rotations_at_once_are_those_of_lapack(size: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(size)
    shape = 2, 13, size * (size - 1) // 2
    above = (spread * torch.randn(shape, generator=generator, dtype=torch.float64)).float()
    one_by_one = torch.stack([rotations(one, size) for one in above.double()])
    for values, within in ((above.double(), 1e-11), (above, 1e-4)):
        own = values.clone().requires_grad_()
        R = rotations(own, size)
        torch.testing.assert_close(R.double(), one_by_one, rtol=0, atol=within)
        torch.autograd.backward(R.square().sum(-1)[..., 0].sum())
        assert own.grad is not None
        # Rows of rotations keep their length, whatever Q is.
        assert own.grad.abs().max() < within * size


def test_one_broken_matrix_breaks_no_other() -> None:
    above = 0.1 * torch.randn(26, 378, generator=torch.Generator().manual_seed(0))
    sound = rotations(above, 28)
    above[3, 5] = float("nan")
    found = rotations(above, 28)
    assert found[3].isnan().any()
    others = [k for k in range(26) if k != 3]
    torch.testing.assert_close(found[others], sound[others])


@pytest.mark.parametrize("rows", [2, 9])
def test_turning_the_weight_is_turning_the_input(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    base = nn.Linear(12, 4, dtype=torch.float64)
    layer = OFTLinear(base, block_size=3)
    with torch.no_grad():
        layer.oft_R.copy_(torch.randn(layer.oft_R.shape, generator=generator))
    x = torch.randn(rows, 12, dtype=torch.float64, generator=generator)
    outcomes = []
    for x_ in (x, x.clone().requires_grad_()):  # of which the second is turned itself
        y = layer(x_)
        (of_R,) = torch.autograd.grad(y.square().sum(), layer.oft_R)
        outcomes.append((y.detach(), of_R))
    torch.testing.assert_close(*outcomes, rtol=1e-12, atol=1e-12)
    assert turns_weight(base, x, rows) == (rows > 4)
    assert not turns_weight(base, x.float(), rows)
