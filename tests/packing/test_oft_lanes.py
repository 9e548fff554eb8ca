"""OFT in packs: inverses side by side, and W turned where the rows that lanes share are many."""

import pytest
import torch
from torch import nn

from adapterlab import adapters
from adapterlab.adapters.inverses import inverses
from adapterlab.adapters.methods.oft import OFTLinear
from adapterlab.models import MLP
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.methods.oft import LaneOFTLinear

SHAPE, CLASSES = (1, 4, 6), 5


@pytest.mark.parametrize("count", [(3,), (16, 8)], ids=["few", "many"])
@pytest.mark.parametrize("size", [2, 7])
@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_inverses(count: tuple[int, ...], size: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(size)
    above = scale * torch.randn(*count, size, size, dtype=torch.float64, generator=generator)
    matrices = torch.eye(size, dtype=torch.float64) + above - above.mT
    before = matrices.clone()
    found = inverses(matrices)
    assert torch.equal(matrices, before)
    # torch takes products of matrices that lie otherwise one by one, in several times the time.
    assert found.stride()[-2:] in ((size, 1), (1, size))
    torch.testing.assert_close(found, torch.linalg.inv(matrices), rtol=0, atol=scale * 1e-12)


@pytest.mark.parametrize("sizes", [[4, 4, 4], [2, 4, 12]], ids=["of one size", "of several"])
@pytest.mark.parametrize("rows", [3, 9], ids=["fewer than W", "more than W"])
@pytest.mark.parametrize("bias", [True, False])
def test_shared_rows_are_mapped_as_alone(sizes: list[int], rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    base = nn.Linear(24, 5, bias=bias).double()
    layers = [OFTLinear(base, block_size=size) for size in sizes]
    for layer in layers:
        nn.init.normal_(layer.oft_R)
    lanes = Lanes([0] * len(layers))
    pack = LaneOFTLinear(layers, lanes)
    x = torch.randn(rows, 24, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(len(layers), rows, 5, dtype=torch.float64)
    lanes.begin(rows, together=True)
    together = lanes.split(pack(x))
    (of_rows,) = torch.autograd.grad((together * weights).sum(), x, retain_graph=True)
    (together * weights).sum().backward()  # type: ignore[no-untyped-call]
    gradient = pack.oft_R.grad
    assert gradient is not None
    alone = [layer(x) for layer in layers]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-12)
    loss = sum((own * weight).sum() for own, weight in zip(alone, weights, strict=True))
    assert isinstance(loss, torch.Tensor)
    expected = torch.autograd.grad(loss, [x, *(layer.oft_R for layer in layers)])
    torch.testing.assert_close(of_rows, expected[0], rtol=0, atol=1e-12)
    for lane, own in enumerate(expected[1:]):
        part = pack.stacks["oft_R"].part(gradient, lane)
        torch.testing.assert_close(part, own, rtol=0, atol=1e-12)


def test_streams_start_as_torch_would_and_leave_its_generator_alone() -> None:
    models = [
        adapters.OFT(block_size=4).apply(MLP(SHAPE, CLASSES, widths=(9,), dropout=0.1), seed=seed)
        for seed in range(2)
    ]
    for model in models[1:]:
        model.model.load_state_dict(models[0].model.state_dict())
    share_frozen(models)
    pack = PackedModel(models, [0, 1])
    before, queued = torch.get_rng_state(), len(torch.cuda._queued_calls)
    pack.reseed([11, 2**62 + 1], [0, 0])
    assert torch.equal(torch.get_rng_state(), before)
    assert len(torch.cuda._queued_calls) == queued
    for seed, state in zip([11, 2**62 + 1], pack._randomness._states, strict=True):
        torch.manual_seed(seed)
        assert torch.equal(torch.get_rng_state(), state)
