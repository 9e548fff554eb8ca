"""LoRA-XS, SVFT and DVoRA against numbers worked out by hand."""

import pytest
import torch
from convolutional import convolutional
from torch import Tensor, nn

from adapterlab.adapters import SVFT, DVoRALinear, LoRAXS, LoRAXSLinear, SVFTLinear
from adapterlab.adapters.methods.svft import times_band
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP


def linear(weight: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    W = torch.tensor(weight, dtype=torch.float64)
    layer = nn.Linear(W.shape[1], W.shape[0], bias=bias is not None, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(W)
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def turned() -> nn.Linear:
    """W = U S V^T with U = [e2 e1], S = (3, 2) and V^T = [[-1, 0], [0, 1]]."""
    return linear([[0, 2], [-3, 0]], [10, 20])


class TestLoRAXSByHand:
    @pytest.mark.parametrize(
        ("rank", "R", "update", "y"),
        [
            # A = [-3 0], B = [0 1]^T: B R A = [[0 0] [-6 0]]; W (1, 1) = (2, -3).
            (1, [[2]], [[0, 0], [-6, 0]], (12, 11)),
            # A = [[-3 0] [0 2]], B swaps rows: R A = [[-3 4] [-9 8]].
            (2, [[1, 2], [3, 4]], [[-9, 8], [-3, 4]], (11, 18)),
        ],
    )
    def test_forward_and_merged(
        self, rank: int, R: list[list[float]], update: list[list[float]], y: tuple[float, float]
    ) -> None:
        layer = LoRAXSLinear(turned(), rank=rank, alpha=rank)
        with torch.no_grad():
            layer.lora_R.copy_(torch.tensor(R))
        assert layer(vector(1, 1)).tolist() == list(y)
        merged = layer.merged()
        assert (merged.weight - turned().weight).tolist() == update
        assert merged.bias.tolist() == [10, 20]

    def test_the_scale_multiplies_the_update(self) -> None:
        layer = LoRAXSLinear(turned(), rank=1, alpha=0.5)
        with torch.no_grad():
            layer.lora_R.fill_(2)
        assert layer(vector(1, 1)).tolist() == [12, 14]

    def test_only_the_middle_is_trained_and_drawn(self) -> None:
        layer = LoRAXSLinear(nn.Linear(300, 200), rank=100, alpha=1, init_std=0.25)
        assert [n for n, p in layer.named_parameters() if p.requires_grad] == ["lora_R"]
        assert layer.lora_R.std().item() == pytest.approx(0.25, rel=0.03)
        assert layer.lora_R.mean().item() == pytest.approx(0, abs=0.01)

    def test_there_are_no_more_than_all_singular_vectors(self) -> None:
        model = MLP((5,), 3, widths=(8, 6))
        with pytest.warns(UserWarning, match="rank 6 on layers.0 .* 5 singular vectors, and takes"):
            adapted = LoRAXS(rank=6).apply(model)
        assert adapted.count().adapter == 5**2 + 6**2
        assert LoRAXS().most(MLP((5,), 3, widths=(8, 6))) == 6

    def test_a_budget_turns_the_rank_and_keeps_the_scale(self) -> None:
        turned = LoRAXS(rank=25, alpha=16).turned(50)
        assert (turned.rank, turned.alpha) == (50, 32)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rank": 0}, "adapter.rank=0 must be 1 or more"),
            ({"alpha": 0.0}, "adapter.alpha=0 must be above 0"),
            ({"scaling": "beta"}, "adapter.scaling=beta; did you mean|allowed"),
            ({"init_std": -1.0}, "adapter.init_std=-1 must be 0 or more"),
            ({"layers": "last"}, "adapter.layers=last; allowed: all, first N"),
        ],
    )
    def test_options_outside_of_their_domain(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            LoRAXS(**options)


class TestSVFTByHand:
    # U swaps rows and V^T turns the first sign: U M V^T = [[-c d] [-a b]] for M = [[a b] [c d]].
    @pytest.mark.parametrize(
        ("pattern", "entries", "update", "y"),
        [
            ("plain", [5, 7], [[0, 7], [-5, 0]], (19, 12)),
            # The diagonal, what is above it, what is below it.
            ("banded", [5, 7, 11, 13], [[-13, 7], [-5, 11]], (6, 23)),
        ],
    )
    def test_diagonals(
        self, pattern: str, entries: list[float], update: list[list[float]], y: tuple[float, float]
    ) -> None:
        layer = SVFTLinear(turned(), pattern=pattern)
        with torch.no_grad():
            layer.svft_M.copy_(torch.tensor(entries))
        assert (layer.merged().weight - turned().weight).tolist() == update
        assert layer(vector(1, 1)).tolist() == list(y)

    def test_a_band_of_two(self) -> None:
        # Each diagonal from its upper left: 1-4, above 5-7, below 8-10, above 11-12, below 13-14.
        M = [[1, 5, 11, 0], [8, 2, 6, 12], [13, 9, 3, 7], [0, 14, 10, 4]]
        z = vector(1, 10, 100, 1000)
        expected = torch.tensor(M, dtype=torch.float64) @ z
        assert torch.equal(times_band(z, torch.arange(1.0, 15), band=2), expected)

    def test_aligned_vectors_come_first(self) -> None:
        # U = e3 e1 e2, V = e1 e2 -e3: u_1 is v_3 but for its sign, u_2 is v_1, and u_3 is v_2.
        W = [[0, 2, 0], [0, 0, -1], [3, 0, 0]]
        layer = SVFTLinear(linear(W), pattern="top_k", band=1)
        assert len(layer.svft_places) == 7
        assert {2, 3, 7} <= set(layer.svft_places.tolist())
        assert layer.svft_places.tolist() == [0, 1, 2, 3, 4, 5, 7]  # and the first of those tied

    def test_of_a_weight_that_is_not_square_the_square_one_counts(self) -> None:
        # U [2, 2] = [e2 e1], whose entries (0, 1) and (1, 0) are 1, and the others 0.
        wide = SVFTLinear(linear([[0, 2, 0], [-3, 0, 0]]), pattern="top_k", band=1)
        tall = SVFTLinear(linear([[0, -3], [2, 0], [0, 0]]), pattern="top_k", band=1)
        for layer in (wide, tall):
            assert layer.svft_places.tolist() == [0, 1, 2, 3]

    def test_single_entries_are_where_they_are_said_to_be(self) -> None:
        layer = SVFTLinear(turned(), pattern="random", generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            layer.svft_places = torch.tensor([2, 1, 0, 3])
            layer.svft_M.copy_(torch.tensor([13, 11, 5, 7]))
        assert layer.middle().tolist() == [[5, 11], [13, 7]]
        assert layer(vector(1, 1)).tolist() == [6, 23]

    def test_random_places_are_distinct_and_each_layers_own(self) -> None:
        adapted = SVFT(pattern="random", band=2).apply(MLP((9,), 3, widths=(9, 9)), seed=3)
        first, second = (layer.svft_places for layer in adapted.model.layers)
        assert len(first.unique()) == len(first) == 9 + 2 * 8 + 2 * 7
        assert not torch.equal(first, second)

    def test_no_band_is_wider_than_its_matrix(self) -> None:
        layer = SVFTLinear(nn.Linear(9, 3), pattern="banded", band=40)
        assert layer.svft_M.numel() == 9
        assert layer.describe() == "SVFT of 2 diagonals on each side"

    def test_a_budget_turns_the_band_but_of_the_diagonal_alone(self) -> None:
        assert SVFT().budget_dial() is None
        assert SVFT(pattern="top_k").budget_dial() == "band"
        assert SVFT(pattern="top_k").turned(5).band == 5
        assert SVFT().most(MLP((5,), 3, widths=(8, 6))) == 5

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"pattern": "band"}, "adapter.pattern=band; "),
            (
                {"band": 0},
                "adapter.band=0 must be 1 or more; adapter.pattern=plain is the diagonal",
            ),
            ({"dropout": 1.0}, "adapter.dropout=1 must be"),
        ],
    )
    def test_options_outside_of_their_domain(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            SVFT(**options)


@pytest.mark.parametrize("strategy", [LoRAXS(targets=["conv"]), SVFT(targets=["all-conv"])])
def test_a_convolution_is_refused(strategy: LoRAXS | SVFT) -> None:
    with pytest.raises(ConfigError, match=r"is a convolution, and .* adapts linear"):
        strategy.apply(convolutional(3))


def test_dvora_by_hand() -> None:
    """W = (3, 4), update λ_b B λ_d A = 2·1·0.5·(2, 0) = (2, 0): W' = (5, 4), and m its own."""
    base = nn.Linear(2, 1).double()
    with torch.no_grad():
        base.weight.copy_(torch.tensor([[3.0, 4.0]]))
        base.bias.fill_(7.0)
    A, B = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0]])
    layer = DVoRALinear(base, A.double(), B.double(), d_initial=0.5)
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(layer(x), base(x))
    assert layer.magnitude.item() == pytest.approx(5.0)
    with torch.no_grad():
        layer.vera_lambda_b.fill_(2.0)
        layer.magnitude.fill_(3.0)
    expected = 3 / 41**0.5 * (5 * 1 + 4 * -2) + 7
    assert layer(x).item() == pytest.approx(expected)
    assert layer.merged()(x).item() == pytest.approx(expected)
    layer(x).sum().backward()
    # The norm is a constant: the gradient of λ_b is m/‖W'‖ · B λ_d A x.
    assert layer.vera_lambda_b.grad.item() == pytest.approx(3 / 41**0.5 * 0.5 * 2)
