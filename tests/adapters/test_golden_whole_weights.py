"""HiRA, LoHa, LoKr, MiSS, DeLoRA, FourierFT and HRA: values by hand, first values, mistakes."""

import math
from collections.abc import Callable

import pytest
import torch
from adapter_cases import MODELS, build
from convolutional import convolutional
from torch import Tensor, nn

from adapterlab.adapters import (
    HRA,
    DeLoRA,
    FourierFT,
    HiRA,
    LoHa,
    LoKr,
    MiSS,
    Strategy,
    plan,
)
from adapterlab.adapters.budget import fit
from adapterlab.adapters.methods.delora import DeLoRALinear
from adapterlab.adapters.methods.fourierft import FourierFTLinear
from adapterlab.adapters.methods.hira import HiRALinear
from adapterlab.adapters.methods.hra import HRALinear
from adapterlab.adapters.methods.loha import LoHaLinear
from adapterlab.adapters.methods.lokr import LoKrLinear, factorized
from adapterlab.adapters.methods.miss import MiSSLinear
from adapterlab.adapters.strategy import AdapterLayer
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP

DOUBLE = torch.float64


def linear(d_in: int, d_out: int) -> nn.Linear:
    """Return a layer whose weight counts from 1, and whose bias is 0.5."""
    layer = nn.Linear(d_in, d_out, dtype=DOUBLE)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, 1 + d_in * d_out).view(d_out, d_in))
        layer.bias.fill_(0.5)
    return layer


@torch.no_grad()
def put(layer: AdapterLayer, **values: list[list[float]] | list[float]) -> None:
    for name, value in values.items():
        own = layer.get_parameter(name)
        own.copy_(torch.tensor(value, dtype=own.dtype).view_as(own))


class TestByHand:
    def test_hira_scales_each_weight(self) -> None:
        layer = HiRALinear(linear(2, 2), rank=1)
        put(layer, hira_A=[[1, -1]], hira_B=[[2], [0.5]])
        # W = [[1, 2], [3, 4]], BA = [[2, -2], [0.5, -0.5]].
        x = torch.tensor([1.0, 10.0], dtype=DOUBLE)
        assert layer(x).tolist() == [3 - 20 + 0.5, 4.5 + 20 + 0.5]

    def test_loha_multiplies_two_updates(self) -> None:
        layer = LoHaLinear(linear(2, 1), rank=1, alpha=3)
        put(layer, hada_w1_a=[2], hada_w1_b=[1, 5], hada_w2_a=[-1], hada_w2_b=[4, 1])
        # W = [1, 2], s = 3: 3 * [2 * -4, 10 * -1].
        assert layer.adapted_matrix().tolist() == [[1 - 24, 2 - 30]]

    def test_lokr_is_torchs_kronecker_product(self) -> None:
        layer = LoKrLinear(linear(6, 4), rank=3, alpha=6)
        assert layer.shape == (2, 2, 2, 3)
        C, D = [[1, 2], [0, -1]], [[1, 0, 2], [3, 1, 0]]
        put(layer, lokr_w1=C, lokr_w2=D)
        update = 2 * torch.kron(Tensor(C), Tensor(D)).double()
        assert torch.equal(layer.adapted_matrix(), layer.base.weight + update)
        x = torch.tensor([1.0, 2, 3, 4, 5, 6], dtype=DOUBLE)
        assert torch.equal(layer(x), layer.base(x) + update @ x)

    def test_miss_adds_up_every_rth_input(self) -> None:
        layer = MiSSLinear(linear(5, 1), rank=2)
        put(layer, miss_block=[10, 100])
        x = torch.tensor([1.0, 2, 3, 4, 5], dtype=DOUBLE)
        assert layer(x).item() == 55.5 + 10 * (1 + 3 + 5) + 100 * (2 + 4)

    def test_delora_bounds_each_part(self) -> None:
        layer = DeLoRALinear(linear(2, 2), rank=2, bound=6, start="zero")
        # Whatever the lengths are, an update is λ/r along unit vectors, times the columns' norms.
        put(layer, delora_A=[[30, 40], [0, 7]], delora_B=[[5, 0], [0, -0.1]])
        W = layer.base.weight
        norms = W.norm(dim=0)
        unit = torch.tensor([[0.6, 0.8], [0, -1]], dtype=DOUBLE)
        torch.testing.assert_close(layer.adapted_matrix(), W + 3 * unit * norms)

    def test_delora_is_less_its_first_update(self) -> None:
        layer = DeLoRALinear(linear(4, 3), rank=2, bound=6)
        W = layer.base.weight
        torch.testing.assert_close(layer.adapted_matrix(), W.detach(), rtol=0, atol=1e-14)
        put(layer, delora_lambda=[12])
        moved = layer.adapted_matrix() - W
        whole = DeLoRALinear(linear(4, 3), rank=2, bound=6, start="zero")
        put(whole, delora_A=layer.first_A.tolist(), delora_B=layer.first_B.tolist())
        torch.testing.assert_close(moved, whole.adapted_matrix() - W)  # twice less once

    def test_fourierft_adds_waves(self) -> None:
        layer = FourierFTLinear(linear(4, 3), torch.tensor([5, 2]), scaling=24)
        put(layer, fourierft_spectrum=[2, -3])  # at (1, 1) and (0, 2)
        rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
        first = 2 * torch.cos(2 * math.pi * (rows / 3 + columns / 4))
        second = -3 * torch.cos(2 * math.pi * (2 * columns / 4))
        update = (24 / 12 * (first + second)).double()
        found = layer.adapted_matrix() - layer.base.weight
        torch.testing.assert_close(found, update, rtol=1e-6, atol=1e-6)

    def test_hra_is_a_chain_of_reflections(self) -> None:
        layer = HRALinear(linear(5, 2), rank=4)
        vectors = torch.randn(5, 4, generator=torch.Generator().manual_seed(3), dtype=DOUBLE)
        put(layer, hra_u=vectors.tolist())
        H = torch.eye(5, dtype=DOUBLE)
        for u in vectors.T:
            H = H @ (torch.eye(5, dtype=DOUBLE) - 2 * torch.outer(u, u) / u.dot(u))
        torch.testing.assert_close(layer.adapted_matrix(), layer.base.weight @ H)
        # Lengths count for nothing.
        put(layer, hra_u=(7 * vectors).tolist())
        torch.testing.assert_close(layer.adapted_matrix(), layer.base.weight @ H)


class TestFirstValues:
    """As PEFT draws them: uniform within 1/√(numbers that a row is multiplied with)."""

    @pytest.mark.parametrize(
        ("layer", "drawn"),
        [
            (lambda: HiRALinear(nn.Linear(400, 90), rank=25), {"hira_A": 400}),
            (
                lambda: LoHaLinear(nn.Linear(400, 90), rank=25, alpha=1),
                {"hada_w1_a": 25, "hada_w1_b": 400, "hada_w2_a": 25},
            ),
            (
                lambda: LoKrLinear(nn.Linear(2500, 1600), rank=9, alpha=1, decompose_both=True),
                {"lokr_w1_b": 50, "lokr_w2_a": 9, "lokr_w2_b": 50},
            ),
            (lambda: LoKrLinear(nn.Linear(2500, 1600), rank=25, alpha=1), {"lokr_w2": 50}),
            (
                lambda: DeLoRALinear(nn.Linear(400, 90), rank=25, bound=1),
                {"delora_A": 400, "delora_B": 25},
            ),
            (
                lambda: DeLoRALinear(nn.Linear(400, 9), rank=25, bound=1, start="zero"),
                {"delora_A": 400},
            ),
            (lambda: HRALinear(nn.Linear(400, 9), rank=50), {"hra_u": 25}),
            (lambda: MiSSLinear(nn.Linear(400, 9), rank=50), {}),
        ],
    )
    def test_within_bounds_or_zero(
        self, layer: Callable[[], AdapterLayer], drawn: dict[str, int]
    ) -> None:
        for name, parameter in layer().named_parameters(recurse=False):
            if name in drawn:
                bound = drawn[name] ** -0.5
                assert parameter.abs().max().item() == pytest.approx(bound, rel=0.02), name
                assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.1), name
            else:
                assert not parameter.any() or name == "delora_lambda"


def test_sides_are_cut_as_lycoris_does() -> None:
    """The first four are examples in its own documentation."""
    assert factorized(256, -1) == (16, 16)
    assert factorized(128, -1) == (8, 16)
    assert factorized(127, -1) == (1, 127)
    assert factorized(128, 4) == (4, 32)
    assert factorized(128, 64) == (64, 2)
    assert factorized(30, 4) == (3, 10)
    assert factorized(1, -1) == (1, 1)


class TestBudget:
    def test_all_ranks_of_lokr_are_tried(self) -> None:
        """Rank 7 has more numbers than rank 8, at which the factor is a matrix."""
        model = MLP((64,), 10, widths=(128,))
        counts = {r: 64 + (24 * r if r < 8 else 128) for r in range(1, 9)}
        for asked, rank in ((60 + 64, 2), (191, 5), (195, 8), (210, 6), (10**6, 7)):
            fitted = fit(LoKr(head="freeze"), model, asked)
            assert fitted.trained == counts[rank]
            assert fitted.strategy == LoKr(rank=rank, alpha=rank, head="freeze")

    def test_reflections_come_in_pairs(self) -> None:
        model = MLP((64,), 10, widths=(128,))
        assert fit(HRA(head="freeze"), model, 64 * 7).strategy == HRA(rank=6, head="freeze")
        assert fit(HRA(head="freeze"), model, 1).strategy == HRA(rank=2, head="freeze")

    def test_scales_stay(self) -> None:
        model = MLP((64,), 10, widths=(128,))
        fitted = fit(LoHa(head="freeze"), model, 192 * 2 * 3).strategy
        assert fitted == LoHa(rank=3, alpha=3, head="freeze")


def test_the_plan_says_what_comes_out() -> None:
    found = {
        layer.method
        for strategy in (LoKr(rank=1), HRA(rank=2), FourierFT(n_frequency=7, scaling=2))
        for layer in plan(strategy.apply(build(MODELS["mlp"]))).layers
        if layer.name == "layers.0"
    }
    assert found == {
        "LoKr, 2x1 times 4x5 of rank 1, scale 8",
        "HRA, 2 reflections",
        "FourierFT, 7 entries, scale 2",
    }


MISTAKES: dict[str, tuple[Callable[[], Strategy], str]] = {
    "rank": (lambda: HiRA(rank=0), "adapter.rank=0 must be 1 or more"),
    "alpha": (lambda: LoHa(alpha=0), "adapter.alpha=0 must be above 0"),
    "factor": (lambda: LoKr(factor=0), "adapter.factor=0 must be 1 or more, or -1"),
    "groups": (
        lambda: MiSS(rank=6),
        "rank=6: layers.0 has 5 inputs, which cannot be in more groups; allowed there: 1 to 5",
    ),
    "bound": (lambda: DeLoRA(bound=0), "adapter.bound=0 must be above 0 and finite"),
    "start": (lambda: DeLoRA(start="zeros"), "adapter.start=zeros; .*did you mean zero"),  # type: ignore[arg-type]
    "entries": (
        lambda: FourierFT(n_frequency=41),
        "n_frequency=41: layers.0 has 40 weights; allowed there: 1 to 40",
    ),
    "scaling": (lambda: FourierFT(scaling=math.inf), "adapter.scaling=inf must be above 0"),
    "places": (lambda: FourierFT(location_seed=-1), "location_seed=-1 must be at least 0"),
    "odd": (lambda: HRA(rank=3), "adapter.rank=3 must be even"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name: str) -> None:
    make, message = MISTAKES[name]
    with pytest.raises(ConfigError, match=message) as error:
        make().apply(build(MODELS["mlp"]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [HiRA, LoHa, LoKr, MiSS, DeLoRA, FourierFT, HRA])
def test_convolutions_are_refused(kind: type[Strategy]) -> None:
    strategy = kind(targets="conv")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=f"adapter={kind.__name__.lower()} is of linear layers"):
        strategy.apply(convolutional(3))
