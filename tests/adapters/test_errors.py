"""Mistakes in an adapter's configuration: one line, the value, and what is allowed."""

import math
from collections.abc import Callable

import pytest
import torch
from adapter_cases import FEATURES, MODELS, build
from torch import nn

from adapterlab.adapters import (
    AdaptedModel,
    BitFit,
    DoRA,
    DoRALinear,
    Full,
    Head,
    LastLayers,
    LoRA,
    LoRALinear,
    Strategy,
)
from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.models import MLP

Action = Callable[[], object]


def on_mlp(strategy: Callable[[], Strategy]) -> Action:
    return lambda: strategy().apply(build(MODELS["mlp"]))


def layer(**options: object) -> Action:
    return lambda: LoRALinear(nn.Linear(4, 4), **({"rank": 1, "alpha": 1.0} | options))


SCALINGS = "allowed: alpha_over_rank, alpha_over_sqrt_rank, alpha"
INITS = "allowed: kaiming, gaussian, both_normal"
LAYERS = "layers: layers.0, layers.1, layers.2"

MISTAKES: dict[str, tuple[Action, list[str]]] = {
    "rank 0": (lambda: LoRA(rank=0), ["adapter.rank=0", "1 or more", "adapter=head"]),
    "rank -3": (lambda: DoRA(rank=-3), ["adapter.rank=-3", "1 or more"]),
    "rank 0 in pattern": (lambda: LoRA(rank_pattern={"a": 0}), ["rank=0", "1 or more"]),
    "layer rank 0": (layer(rank=0), ["adapter.rank=0", "1 or more"]),
    "negative alpha": (lambda: LoRA(alpha=-1), ["adapter.alpha=-1", "above 0"]),
    "alpha 0": (lambda: LoRA(alpha=0), ["adapter.alpha=0", "above 0"]),
    "NaN alpha": (lambda: LoRA(alpha=math.nan), ["adapter.alpha=nan", "above 0"]),
    "infinite alpha": (lambda: DoRA(alpha=math.inf), ["adapter.alpha=inf"]),
    "alpha in pattern": (lambda: LoRA(alpha_pattern={"a": -2}), ["alpha=-2", "above 0"]),
    "layer alpha": (layer(alpha=-1.0), ["adapter.alpha=-1", "above 0"]),
    "dropout 1": (lambda: LoRA(dropout=1), ["adapter.dropout=1", "at least 0 and below 1"]),
    "dropout -0.1": (lambda: DoRA(dropout=-0.1), ["adapter.dropout=-0.1", "at least 0"]),
    "NaN dropout": (lambda: LoRA(dropout=math.nan), ["adapter.dropout=nan", "at least 0"]),
    "layer dropout": (layer(dropout=1.0), ["adapter.dropout=1", "below 1"]),
    "scaling": (lambda: LoRA(scaling="rslora"), ["adapter.scaling=rslora", SCALINGS]),
    "layer scaling": (layer(scaling="rslora"), ["adapter.scaling=rslora", SCALINGS]),
    "init": (
        lambda: LoRA(init="kaimng"),
        ["adapter.init=kaimng", INITS, "did you mean kaiming?"],
    ),
    "layer init": (layer(init="kaimng"), ["adapter.init=kaimng", INITS]),
    "init_std": (lambda: LoRA(init_std=0.0), ["adapter.init_std=0", "above 0"]),
    "NaN init_std": (lambda: LoRA(init_std=math.nan), ["adapter.init_std=nan", "above 0"]),
    "magnitude": (
        lambda: DoRA(magnitude="per_row"),
        ["adapter.magnitude=per_row", "allowed: per_output, per_input"],
    ),
    "layer magnitude": (
        lambda: DoRALinear(nn.Linear(4, 4), rank=1, alpha=1, magnitude="per_row"),
        ["adapter.magnitude=per_row", "allowed: per_output, per_input"],
    ),
    "target matches nothing": (
        on_mlp(lambda: LoRA(rank=2, targets=["layers.0", "query"])),
        ["adapter.targets", "'query' matches no layer", LAYERS],
    ),
    "target is the head": (
        on_mlp(lambda: DoRA(rank=2, targets="head")),
        ["adapter.targets", "'head' is the head", "adapter.head=adapt"],
    ),
    "empty targets": (
        on_mlp(lambda: LoRA(rank=2, targets=[])),
        ["adapter.targets is empty", LAYERS],
    ),
    "no layer but the head": (
        lambda: LoRA(rank=2).apply(MLP((FEATURES,), 3, widths=())),
        ["'all-linear' matches no layer", "layers: none"],
    ),
    "rank_pattern matches nothing": (
        on_mlp(lambda: LoRA(rank=2, rank_pattern={"query": 1})),
        ["adapter.rank_pattern", "'query' matches no adapted layer", LAYERS],
    ),
    "alpha_pattern matches nothing adapted": (
        on_mlp(lambda: LoRA(rank=2, targets="layers.0", alpha_pattern={"layers.1": 1.0})),
        ["adapter.alpha_pattern", "'layers.1' matches no adapted layer", "layers: layers.0"],
    ),
    "full cannot adapt its head": (
        lambda: Full(head="adapt"),
        ["adapter.head=adapt", "Full", "allowed: train, freeze"],
    ),
    "last_layers cannot adapt its head": (
        lambda: LastLayers(head="adapt"),
        ["adapter.head=adapt", "LastLayers", "allowed: train, freeze"],
    ),
    "head has nothing else to train": (
        lambda: Head(head="freeze"),
        ["adapter.head=freeze", "allowed: train"],
    ),
    "unknown head": (
        lambda: LoRA(head="trian"),
        ["adapter.head=trian", "allowed: train, adapt, freeze", "did you mean train?"],
    ),
    "n 0": (lambda: LastLayers(n=0), ["adapter.n=0", "1 or more", "adapter=head"]),
    "n too large": (
        on_mlp(lambda: LastLayers(n=4)),
        ["adapter.n=4", "3 layers before the head", LAYERS],
    ),
    "a model that names no head": (
        lambda: LoRA(rank=1).apply(nn.Linear(4, 4)),
        ["Linear cannot be adapted", "head_modules", "blocks"],
    ),
    "nothing to train": (
        lambda: Full(head="freeze").apply(MLP((FEATURES,), 3, widths=())),
        ["Full", "head=freeze", "trains no parameter"],
    ),
    "bitfit without bias": (
        lambda: BitFit().apply(MLP((FEATURES,), 3, widths=())),
        ["adapter=bitfit", "no bias outside its head"],
    ),
}


@pytest.mark.parametrize(("action", "substrings"), MISTAKES.values(), ids=MISTAKES)
def test_message_is_one_line_with_the_value_and_what_is_allowed(
    action: Action, substrings: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert [s for s in substrings if s not in message] == []
    assert isinstance(caught.value, AdapterLabError)


@pytest.mark.parametrize("strategy", [LoRA, DoRA])
def test_rank_above_the_smaller_side_warns_and_works(strategy: type[LoRA]) -> None:
    model = build(MODELS["mlp"])
    x = torch.randn(4, FEATURES)
    expected = model(x)
    with pytest.warns(UserWarning, match="smaller side") as caught:
        adapted: AdaptedModel = strategy(rank=4, head="adapt").apply(model)
    messages = [str(warning.message) for warning in caught]
    assert messages == [
        "rank 4 on head is above its smaller side, 3: more parameters, no more expressiveness"
    ]
    torch.testing.assert_close(adapted(x), expected, rtol=1e-6, atol=1e-6)
    adapted(x).square().sum().backward()
    assert adapted.model.head.lora_B.grad.shape == (3, 4)


@pytest.mark.filterwarnings("error")
def test_rank_equal_to_the_smaller_side_does_not_warn() -> None:
    LoRA(rank=3, head="adapt").apply(build(MODELS["mlp"]))


def test_a_model_that_is_refused_has_no_layer_replaced() -> None:
    model = build(MODELS["mlp"])
    modules = [type(module) for module in model.modules()]
    for strategy in (
        LoRA(rank=2, targets=["layers.0", "query"]),
        LoRA(rank=2, alpha_pattern={"query": 1.0}),
    ):
        with pytest.raises(ConfigError):
            strategy.apply(model)
    assert [type(module) for module in model.modules()] == modules
