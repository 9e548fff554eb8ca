"""Methods that scale, rotate or mask: values worked out by hand, and mistakes in their options."""

from collections.abc import Callable

import pytest
import torch
from adapter_cases import MODELS, build
from convolutional import convolutional
from torch import Tensor, nn
from transformer_cases import encoder

from adapterlab.adapters import IA3, AdaptedModel, Strategy, plan
from adapterlab.adapters.methods.ia3 import IA3Linear
from adapterlab.base.errors import ConfigError


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(Tensor(weight))
        layer.bias.copy_(Tensor(bias))
    return layer


def adapted_layers(adapted: AdaptedModel) -> dict[str, str]:
    return {layer.name: layer.method for layer in plan(adapted).layers if layer.adapter}


class TestIA3:
    def test_outputs_and_inputs_by_hand(self) -> None:
        base, x = linear([[1, 2], [3, 4], [5, 6]], [1, 0, -1]), Tensor([1, 10])
        outputs, inputs = IA3Linear(base), IA3Linear(base, feedforward=True)
        with torch.no_grad():
            outputs.ia3_l.copy_(Tensor([[2], [0], [-1]]))
            inputs.ia3_l.copy_(Tensor([[3, -1]]))
        assert outputs(x).tolist() == [2 * 22, 0, -64]
        assert inputs(x).tolist() == [3 - 20 + 1, 9 - 40, 15 - 60 - 1]
        for layer in (outputs, inputs):
            assert torch.equal(layer.merged()(x), layer(x))
        assert torch.equal(outputs.merged().bias, Tensor([2, 0, 1]))

    def test_the_papers_layers_by_architecture(self) -> None:
        layer = {"outputs": "(IA)³ on its outputs", "inputs": "(IA)³ on its inputs"}
        found = adapted_layers(IA3(layers=[1]).apply(encoder("distilbert")))
        block = "model.distilbert.transformer.layer.1"
        assert found == {
            f"{block}.attention.k_lin": layer["outputs"],
            f"{block}.attention.v_lin": layer["outputs"],
            f"{block}.ffn.lin2": layer["inputs"],
        }
        found = adapted_layers(IA3().apply(encoder("gpt2")))
        assert {name.rpartition("h.")[2] for name in found} == {
            f"{i}.{name}" for i in (0, 1) for name in ("attn.c_attn", "mlp.c_proj")
        }
        found = adapted_layers(IA3().apply(encoder("llama")))
        assert {name.rpartition(".")[2] for name in found} == {"k_proj", "v_proj", "down_proj"}
        found = adapted_layers(IA3().apply(build(MODELS["mlp"])))
        assert found == {f"layers.{i}": layer["outputs"] for i in range(3)}


MISTAKES: dict[str, tuple[Callable[[], Strategy], str, str]] = {
    "feedforward beside the targets": (
        lambda: IA3(targets=["layers.0"], feedforward=["layers.1"]),
        "mlp",
        r"adapter\.feedforward: 'layers\.1' is none of the targets; layers: layers\.0",
    ),
    "a convolution": (
        lambda: IA3(targets=["conv"]),
        "convolutional",
        r"adapter\.targets: model\.layers\.0\.conv is a convolution, and adapter=ia3 is of linear",
    ),
    "unknown target": (lambda: IA3(targets="querry"), "mlp", "'querry' matches no layer"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name: str) -> None:
    make, where, message = MISTAKES[name]
    model = convolutional(3) if where == "convolutional" else build(MODELS[where])
    with pytest.raises(ConfigError, match=message) as error:
        make().apply(model)
    assert "\n" not in str(error.value)


def test_targets_in_one_way() -> None:
    model = encoder("bert")
    auto = IA3().in_one_way(model)
    exact = IA3(targets=sorted(IA3().chosen(model)), feedforward=auto["feedforward"])
    assert exact.in_one_way(model) == auto
