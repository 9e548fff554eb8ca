"""LoRA-XS and SVFT against numbers worked out by hand."""

import pytest
import torch
from torch import Tensor, nn

from adapterlab.adapters import LoRAXS, LoRAXSLinear
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
            # B = [0 3]^T, A = [-1 0]: B R A = [[0 0] [-6 0]]; W (1, 1) = (2, -3).
            (1, [[2]], [[0, 0], [-6, 0]], (12, 11)),
            # B = [[0 2] [3 0]], A = V^T: B R A = [[-2 d, 2 e] ...] for R = [[a b] [d e]].
            (2, [[1, 2], [3, 4]], [[-6, 8], [-3, 6]], (14, 20)),
        ],
    )
    def test_forward_and_merged(
        self, rank: int, R: list[list[float]], update: list[list[float]], y: tuple[float, float]
    ) -> None:
        layer = LoRAXSLinear(turned(), rank=rank)
        with torch.no_grad():
            layer.lora_R.copy_(torch.tensor(R))
        assert layer(vector(1, 1)).tolist() == list(y)
        merged = layer.merged()
        assert (merged.weight - turned().weight).tolist() == update
        assert merged.bias.tolist() == [10, 20]

    def test_the_scale_multiplies_the_update(self) -> None:
        layer = LoRAXSLinear(turned(), rank=1, scale=0.5)
        with torch.no_grad():
            layer.lora_R.fill_(2)
        assert layer(vector(1, 1)).tolist() == [12, 14]

    def test_only_the_middle_is_trained_and_drawn(self) -> None:
        layer = LoRAXSLinear(nn.Linear(300, 200), rank=100, init_std=0.25)
        assert [n for n, p in layer.named_parameters() if p.requires_grad] == ["lora_R"]
        assert layer.lora_R.std().item() == pytest.approx(0.25, rel=0.03)
        assert layer.lora_R.mean().item() == pytest.approx(0, abs=0.01)

    def test_there_are_no_more_than_all_singular_vectors(self) -> None:
        model = MLP((5,), 3, widths=(8, 6))
        with pytest.warns(UserWarning, match="rank 6 on layers.0 .* 5 singular vectors, and takes"):
            adapted = LoRAXS(rank=6).apply(model)
        assert adapted.count().adapter == 5**2 + 6**2
        assert LoRAXS().most(MLP((5,), 3, widths=(8, 6))) == 6

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rank": 0}, "adapter.rank=0 must be 1 or more"),
            ({"scale": 0.0}, "adapter.scale=0 must be above 0"),
            ({"init_std": -1.0}, "adapter.init_std=-1 must be 0 or more"),
            ({"layers": "last"}, "adapter.layers=last; allowed: all, first N"),
        ],
    )
    def test_options_outside_of_their_domain(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            LoRAXS(**options)
