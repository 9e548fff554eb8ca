"""Cutting ranks out of trained updates: what is left is the best approximation of its size."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, ROWS, build, inputs, perturb
from torch import Tensor

from adapterlab.adapters import AdaptedModel, DoRA, LoRA, LoRAPlus, Strategy, merge
from adapterlab.adapters.methods.lora import LoRALinear
from adapterlab.adapters.pruning import (
    cut,
    pruned_options,
    spectra,
    take_pruned,
    why_not_prunable,
)
from adapterlab.base.errors import ConfigError

DOUBLE = torch.float64
CLOSE = {"rtol": 1e-9, "atol": 1e-11}

STRATEGIES: dict[str, LoRA] = {
    "lora": LoRA(rank=3, alpha=5),
    "lora-patterns": LoRA(
        rank=3, alpha=5, rank_pattern={"layers.0*": 2}, alpha_pattern={"layers.1*": 7}
    ),
    "lora-rslora": LoRA(rank=3, alpha=5, scaling="alpha_over_sqrt_rank", head="adapt"),
    "lora-alpha": LoRA(rank=3, alpha=0.7, scaling="alpha", head="freeze", dropout=0.2),
    "lora-beside": LoRA(rank=3, alpha=5, targets=["layers.1*"], also_train=["layers.0"]),
    "lora_plus": LoRAPlus(rank=3, alpha=5),
    "dora": DoRA(rank=3, alpha=5, head="adapt"),
    "dora-per-input": DoRA(rank=3, alpha=5, magnitude="per_input"),
    "pissa": LoRA(rank=2, alpha=5, init="pissa"),
    "dora-olora": DoRA(rank=2, alpha=5, init="olora"),
}


def trained(strategy: Strategy, model: str = "mlp") -> AdaptedModel:
    adapted = strategy.apply(build(MODELS[model], dtype=DOUBLE), seed=3)
    perturb(adapted)
    return adapted.eval()


def pruned(
    adapted: AdaptedModel, keep: float, model: str = "mlp"
) -> tuple[AdaptedModel, dict[str, int]]:
    found = spectra(adapted)
    one = cut(found, keep)
    strategy = replace(adapted.strategy, **pruned_options(adapted, one.ranks))
    again = strategy.apply(build(MODELS[model], dtype=DOUBLE), seed=99)
    with torch.no_grad():
        for parameter in again.trainable().values():
            parameter += 1  # what is not given to it would show
    take_pruned(again, adapted, found, one)
    return again.eval(), dict(one.ranks)


def updates(adapted: AdaptedModel) -> dict[str, Tensor]:
    found = {}
    for name, layer in adapted.model.named_modules():
        if isinstance(layer, LoRALinear):
            A, B = layer.factors()
            found[name] = (B @ A).detach()
    return found


@pytest.mark.parametrize("name", STRATEGIES)
def test_all_that_is_kept_is_the_same_model(name: str) -> None:
    """Where a first update is subtracted, ranks are twice as many, and the share counts them."""
    adapted = trained(STRATEGIES[name])
    found = spectra(adapted)
    everything = sum(one.cost * len(one.values) for one in found.values())
    again, ranks = pruned(adapted, everything / cut(found, 1.0).trained)
    assert ranks == {layer: len(one.values) for layer, one in found.items()}
    x = inputs(dtype=DOUBLE)
    torch.testing.assert_close(again(x), adapted(x), **CLOSE)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["lora", "lora-patterns", "lora-rslora", "pissa"])
def test_of_all_updates_the_largest_singular_values_are_kept(name: str, model: str) -> None:
    strategy = STRATEGIES[name]
    if model == "convolutional":
        strategy = replace(strategy, targets=["all-linear", "all-conv"])
    adapted = trained(strategy, model)
    again, ranks = pruned(adapted, 0.4, model)
    whole, left = updates(adapted), updates(again)
    assert left.keys() == {layer for layer, rank in ranks.items() if rank}
    kept, dropped = [], []
    for layer, update in whole.items():
        U, S, Vh = torch.linalg.svd(update)
        rank = ranks[layer]
        best = (U[:, :rank] * S[:rank]) @ Vh[:rank]
        torch.testing.assert_close(left.get(layer, torch.zeros_like(update)), best, **CLOSE)
        kept += S[:rank].tolist()
        dropped += S[rank:].tolist()
    assert min(kept) >= max(dropped) - 1e-9
    share = cut(spectra(adapted), 0.4)
    assert math.isclose(share.threshold, min(kept), rel_tol=1e-9)
    parts = [
        parameter.numel()
        for name, parameter in again.model.named_parameters()
        if "lora_" in name and parameter.requires_grad
    ]
    assert sum(parts) == share.parameters <= 0.4 * share.trained


def test_a_layer_of_small_updates_loses_its_adapter() -> None:
    adapted = trained(LoRA(rank=2, alpha=3, head="adapt"))
    head = adapted.model.get_submodule("head")
    assert isinstance(head, LoRALinear)
    with torch.no_grad():
        head.lora_B *= 1e-6
    again, ranks = pruned(adapted, 0.5)
    assert ranks["head"] == 0
    assert again.strategy.head == "freeze"
    assert not isinstance(again.model.get_submodule("head"), LoRALinear)
    x = inputs(dtype=DOUBLE)
    torch.testing.assert_close(merge(again)(x), again(x), **CLOSE)


def test_of_dora_every_layer_keeps_its_magnitude() -> None:
    adapted = trained(DoRA(rank=2, alpha=3))
    with torch.no_grad():
        layer = adapted.model.get_submodule("layers.0")
        layer.lora_B *= 1e-6
    again, ranks = pruned(adapted, 0.5)
    assert min(ranks.values()) == ranks["layers.0"] == 1
    for name, parameter in again.trainable().items():
        if "lora_" not in name:
            assert torch.equal(parameter, adapted.trainable()[name])


@pytest.mark.parametrize("keep", [0.01, 0.1])
def test_a_share_without_room_is_refused(keep: float) -> None:
    with pytest.raises(ConfigError, match=rf"keep={keep:g} has no room .* allowed: 0\.\d+ to 1"):
        cut(spectra(trained(DoRA(rank=2, alpha=3))), keep)


def test_what_trains_no_product_of_two_factors_is_refused() -> None:
    refused = {name for name, row in ROWS.items() if why_not_prunable(row.strategy) is not None}
    allowed: dict[str, Any] = {n: r for n, r in ROWS.items() if n not in refused}
    assert {"full", "bitfit", "combined", "first-update"} <= refused
    assert {"lora", "dora", "lora-patterns"} <= allowed.keys()
    assert {type(row.strategy) for row in allowed.values()} <= {LoRA, DoRA, LoRAPlus}
    with pytest.raises(ConfigError, match="Combined trains no low-rank update B A; allowed: lora"):
        spectra(trained(ROWS["combined"].strategy))
