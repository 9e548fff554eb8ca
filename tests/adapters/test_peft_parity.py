"""LoRA, rsLoRA and DoRA against Hugging Face's PEFT, in float64, on layers with bias.

PEFT names the parameters of a layer ``layers.0`` that it has wrapped:

    base_model.model.layers.0.base_layer.weight
    base_model.model.layers.0.lora_A.default.weight                  ours: layers.0.lora_A
    base_model.model.layers.0.lora_B.default.weight                  ours: layers.0.lora_B
    base_model.model.layers.0.lora_magnitude_vector.default.weight   ours: layers.0.magnitude

A and B have our shapes, [rank, d_in] and [d_out, rank], and so has the magnitude, [d_out].
"""

import copy
from types import ModuleType

import pytest
import torch
from adapter_cases import CLASSES, FEATURES, MODELS, build, inputs
from torch import Tensor, nn

from adapterlab.adapters import AdaptedModel, DoRA, LoRA

PEFT_NAMES = {
    "lora_A": "lora_A.default.weight",
    "lora_B": "lora_B.default.weight",
    "magnitude": "lora_magnitude_vector.default.weight",
}
CLOSE = {"rtol": 1e-10, "atol": 1e-12}

STRATEGIES = {
    "lora": LoRA(rank=2, alpha=3, head="adapt"),
    "rslora": LoRA(rank=2, alpha=3, head="adapt", scaling="alpha_over_sqrt_rank"),
    "dora": DoRA(rank=2, alpha=3, head="adapt"),
}


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    # PEFT imports transformers and that torchvision, which has to be importable.
    pytest.importorskip("adapterlab.base.torchvision_compat")
    return pytest.importorskip("peft")


def counterpart(name: str) -> str:
    layer, _, parameter = name.rpartition(".")
    return f"base_model.model.{layer}.{PEFT_NAMES[parameter]}"


def peft_model(peft: ModuleType, base: nn.Module, strategy: LoRA) -> nn.Module:
    config = peft.LoraConfig(
        r=strategy.rank,
        lora_alpha=strategy.alpha,
        target_modules=["layers.0", "layers.1", "layers.2", "head"],
        use_rslora=strategy.scaling == "alpha_over_sqrt_rank",
        use_dora=isinstance(strategy, DoRA),
        lora_dropout=0.0,
    )
    return peft.get_peft_model(copy.deepcopy(base), config).double()


@pytest.fixture(params=STRATEGIES.values(), ids=STRATEGIES)
def pair(request: pytest.FixtureRequest, peft: ModuleType) -> tuple[AdaptedModel, nn.Module]:
    """Return our model and PEFT's over one base, all adapter parameters non-zero and equal."""
    base = build(MODELS["mlp"], dtype=torch.float64)
    theirs = peft_model(peft, base, request.param)
    ours = request.param.apply(base)
    generator = torch.Generator().manual_seed(3)
    their_parameters = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.trainable().items():
            shape = parameter.shape
            noise = torch.randn(shape, generator=generator, dtype=torch.float64)
            parameter += 0.5 * noise
            their_parameters[counterpart(name)].copy_(parameter)
    return ours, theirs


def loss(model: nn.Module) -> Tensor:
    x = inputs(dtype=torch.float64)
    return nn.functional.cross_entropy(model(x), torch.arange(len(x)) % CLASSES)


def test_names_are_peft_names(pair: tuple[AdaptedModel, nn.Module]) -> None:
    ours, theirs = pair
    trained = {name: p.shape for name, p in theirs.named_parameters() if p.requires_grad}
    assert trained == {counterpart(name): p.shape for name, p in ours.trainable().items()}
    assert "base_model.model.layers.0.base_layer.weight" in dict(theirs.named_parameters())
    assert all(layer.bias is not None for layer in build(MODELS["mlp"]).layers)


def test_forward(pair: tuple[AdaptedModel, nn.Module]) -> None:
    ours, theirs = pair
    x = inputs(dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), **CLOSE)


def test_gradients_of_parameters_and_input(pair: tuple[AdaptedModel, nn.Module]) -> None:
    ours, theirs = pair
    gradients = []
    for model in (ours, theirs):
        x = inputs(dtype=torch.float64).requires_grad_()
        (model(x) * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, **CLOSE)
    their_parameters = dict(theirs.named_parameters())
    for name, parameter in ours.trainable().items():
        assert parameter.grad.abs().max() > 1e-6, name
        torch.testing.assert_close(
            parameter.grad, their_parameters[counterpart(name)].grad, **CLOSE, msg=name
        )


def test_merged_weights(pair: tuple[AdaptedModel, nn.Module]) -> None:
    ours, theirs = pair
    merged = theirs.merge_and_unload()
    for name in ("layers.0", "layers.1", "layers.2", "head"):
        plain = ours.model.get_submodule(name).merged()
        torch.testing.assert_close(plain.weight, merged.get_submodule(name).weight.data, **CLOSE)
        torch.testing.assert_close(plain.bias, merged.get_submodule(name).bias.data, **CLOSE)


def test_training(pair: tuple[AdaptedModel, nn.Module]) -> None:
    ours, theirs = pair
    losses: list[list[float]] = []
    for model in (ours, theirs):
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
        losses.append([])
        for _ in range(5):
            optimizer.zero_grad()
            value = loss(model)
            value.backward()
            optimizer.step()
            losses[-1].append(value.item())
    assert losses[0][-1] < losses[0][0]
    # Adam divides by the root of the second moment, which magnifies rounding where it is small.
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-8, atol=1e-8)
    their_parameters = dict(theirs.named_parameters())
    for name, parameter in ours.trainable().items():
        torch.testing.assert_close(
            parameter, their_parameters[counterpart(name)], rtol=1e-8, atol=1e-8
        )


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_both_start_as_the_base(peft: ModuleType, kind: str) -> None:
    strategy = STRATEGIES[kind]
    base = build(MODELS["mlp"], dtype=torch.float64)
    x = inputs(dtype=torch.float64)
    expected = base(x)
    theirs = peft_model(peft, base, strategy)
    ours = strategy.apply(base)
    torch.testing.assert_close(theirs(x), expected, rtol=1e-6, atol=1e-6)  # m is float32 there
    torch.testing.assert_close(ours(x), expected, **CLOSE)
    bound = 1 / FEATURES**0.5
    factors = (
        ours.model.get_submodule("layers.0").lora_A,
        theirs.get_parameter("base_model.model.layers.0.lora_A.default.weight"),
    )
    assert all(bound / 2 < factor.abs().max() <= bound for factor in factors)
