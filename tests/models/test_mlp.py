"""The multilayer perceptron: shapes, names, initialisation, refusals."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP
from adapterlab.models.mlp import ACTIVATIONS
from adapterlab.models.protocol import Adaptable


def seeded(seed: int, **options: object) -> MLP:
    generator = torch.Generator().manual_seed(seed)
    return MLP((3, 4, 4), 5, widths=(7, 6), generator=generator, **options)


def test_names_follow_the_forward_pass() -> None:
    model = seeded(0)
    assert isinstance(model, Adaptable)
    assert model.head_modules == ("head",)
    assert model.blocks == ("layers.0", "layers.1")
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes == {
        "layers.0.weight": (7, 48),
        "layers.0.bias": (7,),
        "layers.1.weight": (6, 7),
        "layers.1.bias": (6,),
        "head.weight": (5, 6),
        "head.bias": (5,),
    }


@settings(deadline=None, max_examples=30)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    widths=st.lists(st.integers(1, 9), max_size=3),
    classes=st.integers(1, 6),
    batch=st.integers(0, 4),
)
def test_any_shape_gives_logits(
    shape: list[int], widths: list[int], classes: int, batch: int
) -> None:
    model = MLP(shape, classes, widths=widths)
    assert model(torch.zeros(batch, *shape)).shape == (batch, classes)
    sizes = [math.prod(shape), *widths, classes]
    expected = sum((d_in + 1) * d_out for d_in, d_out in pairwise(sizes))
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize(
    ("shape", "widths", "parameters"),
    [((1, 28, 28), (128,), 101_770), ((3, 32, 32), (128, 256), 428_938), ((64,), (), 650)],
)
def test_parameters_of_known_networks(
    shape: tuple[int, ...], widths: tuple[int, ...], parameters: int
) -> None:
    with torch.device("meta"):
        model = MLP(shape, 10, widths=widths)
    assert sum(p.numel() for p in model.parameters()) == parameters


@torch.no_grad()
def test_forward_by_hand() -> None:
    model = MLP((1, 2), 1, widths=(2,))
    model.layers[0].weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 1.0]]))
    model.layers[0].bias.copy_(torch.tensor([0.5, -2.0]))
    model.head.weight.copy_(torch.tensor([[2.0, 3.0]]))
    model.head.bias.copy_(torch.tensor([-1.0]))
    # Hidden [1 + 2 + 0.5, -1 + 1 - 2] = [3.5, -2], after ReLU [3.5, 0]; no activation at the end.
    assert model(torch.tensor([[[1.0, 1.0]]])).tolist() == [[6.0]]
    assert model(torch.tensor([[[-5.0, 0.0]]])).tolist() == [[8.0]]  # hidden [0, 3]


@pytest.mark.parametrize(
    ("activation", "at_minus_one"),
    [("relu", 0.0), ("gelu", -0.158655), ("silu", -0.268941), ("tanh", -0.761594)],
)
@torch.no_grad()
def test_activations(activation: str, at_minus_one: float) -> None:
    model = MLP((1,), 1, widths=(1,), activation=activation)
    for parameter, value in zip(model.parameters(), (1.0, 0.0, 1.0, 0.0), strict=True):
        parameter.fill_(value)
    assert model(torch.tensor([[-1.0]])).item() == pytest.approx(at_minus_one, abs=1e-6)
    assert set(ACTIVATIONS) == {"relu", "gelu", "silu", "tanh"}


class TestInit:
    def test_same_generator_seed_gives_the_same_weights_whatever_the_global_state(self) -> None:
        torch.manual_seed(0)
        first = seeded(3).state_dict()
        torch.manual_seed(1)
        second, other = seeded(3).state_dict(), seeded(4).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not any(torch.equal(first[name], other[name]) for name in first)

    def test_without_a_generator_the_global_seed_counts(self) -> None:
        states = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            states.append(MLP((4,), 3).state_dict())
        assert torch.equal(states[0]["head.weight"], states[1]["head.weight"])
        assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])

    def test_weights_and_biases_are_uniform_within_one_over_root_of_inputs(self) -> None:
        model = MLP((100,), 2000, widths=(2000,), generator=torch.Generator().manual_seed(0))
        for layer in (model.layers[0], model.head):
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in (layer.weight, layer.bias):
                assert parameter.abs().max().item() == pytest.approx(bound, rel=0.01)
                assert parameter.abs().max() <= bound
                assert parameter.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
                assert parameter.mean().abs() < 0.1 * bound

    def test_works_on_the_meta_device(self) -> None:
        with torch.device("meta"):
            model = MLP((8,), 3)
        assert all(parameter.is_meta for parameter in model.parameters())

    def test_can_be_copied(self) -> None:
        model = seeded(0)
        x = torch.randn(2, 3, 4, 4)
        assert torch.equal(copy.deepcopy(model)(x), model(x))


class TestDropout:
    def test_acts_on_hidden_activations_in_training_only(self) -> None:
        model = seeded(0, dropout=0.5)
        x = torch.randn(8, 3, 4, 4)
        plain = seeded(0)
        assert torch.equal(model.eval()(x), plain(x))
        model.train()
        torch.manual_seed(0)
        assert not torch.equal(model(x), plain(x))

    @torch.no_grad()
    def test_comes_after_the_activation(self) -> None:
        model = MLP((1,), 1, widths=(1,), activation="tanh", dropout=0.5)
        for parameter, value in zip(model.parameters(), (1.0, 0.0, 1.0, 0.0), strict=True):
            parameter.fill_(value)
        saturated = torch.full((64, 1), 100.0)
        assert set(model.train()(saturated).flatten().tolist()) == {0.0, 2.0}

    def test_leaves_inputs_and_logits_alone(self) -> None:
        linear = MLP((4,), 3, widths=(), dropout=0.9)
        x = torch.randn(8, 4)
        assert torch.equal(linear.train()(x), linear.head(x))


def test_every_parameter_gets_a_gradient() -> None:
    model = seeded(0)
    nn.functional.cross_entropy(model(torch.randn(16, 3, 4, 4)), torch.arange(16) % 5).backward()
    assert all(parameter.grad is not None and parameter.grad.any()
               for parameter in model.parameters())  # fmt: skip


@pytest.mark.parametrize(
    ("options", "substrings"),
    [
        ({"widths": (8, 0)}, ["model.widths=[8, 0]", "1 or more"]),
        ({"widths": (-1,)}, ["model.widths=[-1]", "1 or more"]),
        ({"dropout": 1.0}, ["model.dropout=1", "at least 0 and below 1"]),
        ({"dropout": -0.2}, ["model.dropout=-0.2", "at least 0 and below 1"]),
        ({"dropout": math.nan}, ["model.dropout=nan", "at least 0 and below 1"]),
        (
            {"activation": "rleu"},
            ["model.activation=rleu", "allowed: relu, gelu, silu, tanh", "did you mean relu?"],
        ),
    ],
)
def test_mistakes_are_refused_in_one_line(
    options: dict[str, object], substrings: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        MLP((4,), 3, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert [s for s in substrings if s not in message] == []
