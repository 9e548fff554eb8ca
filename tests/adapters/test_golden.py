"""LoRA and DoRA against numbers worked out by hand, and DoRA's own laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adapterlab.adapters import DoRALinear, LoRALinear
from adapterlab.adapters.factors import scale_factor
from adapterlab.adapters.seeded_dropout import SeededDropout

MAGNITUDES = ["per_output", "per_input"]


def linear(weight: list[list[float]], bias: list[float] | None) -> nn.Linear:
    W = torch.tensor(weight, dtype=torch.float64)
    layer = nn.Linear(W.shape[1], W.shape[0], bias=bias is not None, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(W)
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


@torch.no_grad()
def set_factors(layer: LoRALinear, A: list[list[float]], B: list[list[float]]) -> None:
    layer.lora_A.copy_(torch.tensor(A))
    layer.lora_B.copy_(torch.tensor(B))


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [("alpha_over_rank", 2.0), ("alpha_over_sqrt_rank", 4.0), ("alpha", 8.0)],
)
def test_scale_factor(scaling: str, expected: float) -> None:
    assert scale_factor(scaling, alpha=8, rank=4) == expected
    assert LoRALinear(nn.Linear(4, 4), rank=4, alpha=8, scaling=scaling).scale == expected


class TestLoRAByHand:
    # W x = [5, 11]; A x = -1; s B A x = 0.5 * [-2, -1] = [-1, -0.5].
    @pytest.fixture
    def layer(self) -> LoRALinear:
        layer = LoRALinear(linear([[1, 2], [3, 4]], [0.5, -0.5]), rank=1, alpha=0.5)
        set_factors(layer, [[1, -1]], [[2], [1]])
        return layer

    def test_forward(self, layer: LoRALinear) -> None:
        assert torch.equal(layer(vector(1, 2)), vector(4.5, 10.0))

    def test_leading_dimensions_are_kept(self, layer: LoRALinear) -> None:
        x = vector(1, 2).expand(3, 4, 2)
        assert torch.equal(layer(x), vector(4.5, 10.0).expand(3, 4, 2))

    def test_merged(self, layer: LoRALinear) -> None:
        merged = layer.merged()
        assert type(merged) is nn.Linear
        assert merged.weight.tolist() == [[2.0, 1.0], [3.5, 3.5]]
        assert merged.bias.tolist() == [0.5, -0.5]

    def test_only_the_factors_are_trained_and_the_merged_layer_is_frozen(
        self, layer: LoRALinear
    ) -> None:
        trained = [name for name, p in layer.named_parameters() if p.requires_grad]
        assert trained == ["lora_A", "lora_B"]
        assert not any(parameter.requires_grad for parameter in layer.merged().parameters())

    def test_without_bias(self) -> None:
        layer = LoRALinear(linear([[1, 2], [3, 4]], None), rank=1, alpha=0.5)
        set_factors(layer, [[1, -1]], [[2], [1]])
        assert torch.equal(layer(vector(1, 2)), vector(4.0, 10.5))
        assert layer.merged().bias is None


class TestDoRAByHand:
    # A = [1 0 1], B = [1 -1]ᵀ, alpha = 2, rank 1: s B A = [[2 0 2], [-2 0 -2]].

    @pytest.fixture
    def per_output(self) -> DoRALinear:
        # W' = [[1 2 2], [2 6 3]], whose rows are 3 and 7 long; m / norm = [2, 0.5].
        layer = DoRALinear(linear([[-1, 2, 0], [4, 6, 5]], [10, 20]), rank=1, alpha=2)
        set_factors(layer, [[1, 0, 1]], [[1], [-1]])
        with torch.no_grad():
            layer.magnitude.copy_(vector(6, 3.5))
        return layer

    @pytest.fixture
    def per_input(self) -> DoRALinear:
        # W' = [[3 5 8], [4 12 15]], whose columns are 5, 13 and 17 long; m / norm = [2, 1, 2].
        layer = DoRALinear(
            linear([[1, 5, 6], [6, 12, 17]], [10, 20]), rank=1, alpha=2, magnitude="per_input"
        )
        set_factors(layer, [[1, 0, 1]], [[1], [-1]])
        with torch.no_grad():
            layer.magnitude.copy_(vector(10, 13, 34))
        return layer

    def test_per_output(self, per_output: DoRALinear) -> None:
        torch.testing.assert_close(per_output.weight_norm(), vector(3, 7), rtol=1e-15, atol=0)
        # W' x = [7, 14], rescaled [14, 7], and the bias is not rescaled.
        torch.testing.assert_close(
            per_output(vector(1, 1, 2)), vector(24, 27), rtol=1e-15, atol=1e-14
        )
        merged = per_output.merged()
        expected = torch.tensor([[2, 4, 4], [1, 3, 1.5]], dtype=torch.float64)
        torch.testing.assert_close(merged.weight.data, expected, rtol=1e-15, atol=1e-15)
        assert merged.bias.tolist() == [10, 20]

    def test_per_input(self, per_input: DoRALinear) -> None:
        torch.testing.assert_close(per_input.weight_norm(), vector(5, 13, 17), rtol=1e-15, atol=0)
        # The input becomes [2, 1, 4], and W' maps that to [43, 80].
        torch.testing.assert_close(
            per_input(vector(1, 1, 2)), vector(53, 100), rtol=1e-15, atol=1e-14
        )
        merged = per_input.merged()
        expected = torch.tensor([[6, 5, 16], [8, 12, 30]], dtype=torch.float64)
        torch.testing.assert_close(merged.weight.data, expected, rtol=1e-15, atol=1e-15)
        assert merged.bias.tolist() == [10, 20]

    @pytest.mark.parametrize(
        ("magnitude", "weight", "expected"),
        [
            ("per_output", [[1, 2, 2], [2, 6, 3]], (3, 7)),
            ("per_input", [[3, 5, 8], [4, 12, 15]], (5, 13, 17)),
        ],
    )
    def test_magnitude_starts_as_the_norm_of_the_base(
        self, magnitude: str, weight: list[list[float]], expected: tuple[float, ...]
    ) -> None:
        layer = DoRALinear(linear(weight, [1, 1]), rank=1, alpha=2, magnitude=magnitude)
        assert torch.equal(layer.magnitude.data, vector(*expected))

    def test_bias_is_outside_the_rescaling(self, per_output: DoRALinear) -> None:
        at_zero = per_output(vector(0, 0, 0))
        assert torch.equal(at_zero, vector(10, 20))


def random_dora(
    d_out: int, d_in: int, rank: int, magnitude: str, *, seed: int = 0, bias: bool = True
) -> DoRALinear:
    """Return a layer in float64 with weights, bias, A, B and m drawn from N(0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    base = nn.Linear(d_in, d_out, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.normal_(generator=generator)
        layer = DoRALinear(base, rank=rank, alpha=1.7, magnitude=magnitude)
        for parameter in (layer.lora_A, layer.lora_B, layer.magnitude):
            parameter.normal_(generator=generator)
    return layer


def materialised_norm(layer: DoRALinear, magnitude: str) -> Tensor:
    W = layer.base.weight + layer.scale * layer.lora_B @ layer.lora_A
    return torch.linalg.vector_norm(W, dim=1 if magnitude == "per_output" else 0)


@pytest.mark.parametrize("magnitude", MAGNITUDES)
class TestDoRALaws:
    @settings(deadline=None, max_examples=40)
    @given(
        d_out=st.integers(1, 20),
        d_in=st.integers(1, 20),
        rank=st.integers(1, 6),
        seed=st.integers(0, 10**6),
    )
    def test_factored_norm_is_the_materialised_one(
        self, magnitude: str, d_out: int, d_in: int, rank: int, seed: int
    ) -> None:
        layer = random_dora(d_out, d_in, rank, magnitude, seed=seed)
        # A sum of squares loses relative accuracy where W and sBA cancel; the error is bounded by
        # rounding of the terms, whose size is that of ‖W‖² + s²‖BA‖².
        norm = materialised_norm(layer, magnitude)
        axis = 1 if magnitude == "per_output" else 0
        update = layer.scale * layer.lora_B @ layer.lora_A
        size = layer.base.weight.square().sum(axis) + update.square().sum(axis)
        assert ((layer.weight_norm() ** 2 - norm**2).abs() <= 1e-13 * (1 + size)).all()

    def test_rescaling_starts_at_exactly_one(self, magnitude: str) -> None:
        layer = DoRALinear(nn.Linear(37, 23), rank=4, alpha=8, magnitude=magnitude)
        assert torch.equal(layer.magnitude / layer.weight_norm(), torch.ones_like(layer.magnitude))

    def test_gradients_treat_the_norm_as_a_constant(self, magnitude: str) -> None:
        layer = random_dora(4, 5, 2, magnitude)
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        upstream = torch.randn(7, 4, generator=generator, dtype=torch.float64)
        (layer(x) * upstream).sum().backward()

        A, B, m, s = layer.lora_A.data, layer.lora_B.data, layer.magnitude.data, layer.scale
        W = layer.base.weight.data + s * B @ A
        norm = materialised_norm(layer, magnitude).data
        c, X = m / norm, x.data
        if magnitude == "per_output":
            G, Z = upstream * c, X
            expected_m = (upstream * (X @ W.T)).sum(0) / norm
            expected_x = G @ W
        else:
            G, Z = upstream, X * c
            expected_m = ((upstream @ W) * X).sum(0) / norm
            expected_x = (G @ W) * c
        close = {"rtol": 1e-12, "atol": 1e-12}
        torch.testing.assert_close(layer.lora_B.grad, s * G.T @ (Z @ A.T), **close)
        torch.testing.assert_close(layer.lora_A.grad, s * B.T @ G.T @ Z, **close)
        torch.testing.assert_close(layer.magnitude.grad, expected_m, **close)
        torch.testing.assert_close(x.grad, expected_x, **close)

    def test_dead_row_and_column_give_no_nan(self, magnitude: str) -> None:
        base = nn.Linear(5, 4)
        with torch.no_grad():
            base.weight[1] = 0
            base.weight[:, 2] = 0
        layer = DoRALinear(base, rank=2, alpha=2, magnitude=magnitude)
        x = torch.randn(8, 5)
        torch.testing.assert_close(layer(x), base(x), rtol=1e-6, atol=1e-6)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            layer(x).square().sum().backward()
            optimizer.step()
        assert all(parameter.isfinite().all() for parameter in layer.parameters())
        assert layer(x).isfinite().all()
        assert layer.merged().weight.isfinite().all()

    def test_dropout_acts_on_the_input_of_the_update_only(self, magnitude: str) -> None:
        layer = random_dora(4, 5, 2, magnitude)
        layer.dropout = SeededDropout(0.5)
        reference = SeededDropout(0.5)
        x = torch.randn(7, 5, dtype=torch.float64)
        c = layer.magnitude / layer.weight_norm()
        W, A, B, s, b = (
            layer.base.weight, layer.lora_A, layer.lora_B, layer.scale, layer.base.bias,
        )  # fmt: skip
        if magnitude == "per_output":
            expected = c * (x @ W.T + s * reference(x) @ A.T @ B.T) + b
        else:
            expected = (c * x) @ W.T + s * reference(c * x) @ A.T @ B.T + b
        torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(layer(x), layer.eval()(x))

    def test_norm_is_kept_in_full_precision_under_autocast(self, magnitude: str) -> None:
        layer = random_dora(4, 5, 2, magnitude).float()
        outside = layer.weight_norm()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer.weight_norm(), outside)

    def test_without_bias(self, magnitude: str) -> None:
        layer = random_dora(4, 5, 2, magnitude, bias=False)
        x = torch.randn(7, 5, dtype=torch.float64)
        torch.testing.assert_close(layer.merged()(x), layer(x), rtol=1e-12, atol=1e-12)
        assert math.isfinite(layer(x).sum().item())
