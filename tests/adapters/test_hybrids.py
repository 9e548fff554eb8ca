"""Combinations whose parts share modules: what is computed, alone, merged and in a pack."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, inputs, perturb
from torch import nn

from adapterlab.adapters import (
    AdaptedModel,
    BitFit,
    Bottleneck,
    BottleneckLinear,
    Combined,
    DoRA,
    Full,
    LoRA,
    LoRALinear,
    ReFT,
    Strategy,
    load_adapter,
    merge,
    plan,
    save_adapter,
)
from adapterlab.base.errors import ConfigError
from adapterlab.packing import PackedModel, share_frozen, signature
from adapterlab.packing.trial import try_out
from adapterlab.runs.check import check
from adapterlab.runs.single import run
from lab import tiny

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
LORA = LoRA(rank=2, alpha=3)


def of(**parts: Strategy) -> Combined:
    return Combined(parts=parts)


def adapted(strategy: Strategy, model: str = "mlp", seed: int = 0) -> AdaptedModel:
    made = strategy.apply(build(MODELS[model], dtype=torch.float64), seed=seed).eval()
    perturb(made, seed=seed)
    return made


def test_a_bottleneck_is_around_lora_whatever_the_parts_are_called() -> None:
    neck = Bottleneck(size=2, non_linearity="tanh", targets="layers.1")
    narrow = LoRA(rank=2, alpha=3, targets="layers.1")
    for strategy in (of(a=narrow, b=neck), of(b=narrow, a=neck)):
        model = adapted(strategy).model
        outer = model.get_submodule("layers.1")
        inner = outer.base
        assert isinstance(outer, BottleneckLinear)
        assert isinstance(inner, LoRALinear)
        x = torch.randn(4, 8, dtype=torch.float64)
        base: Any = inner.base
        h = x @ base.weight.mT + base.bias + 1.5 * (x @ inner.lora_A.mT @ inner.lora_B.mT)
        inside = torch.tanh(h @ outer.down.mT + outer.down_bias)
        torch.testing.assert_close(outer(x), h + inside @ outer.up.mT + outer.up_bias, **CLOSE)


@pytest.mark.parametrize("kind", [LoRA, DoRA])
def test_a_bias_beside_an_update_is_pefts(kind: type[LoRA]) -> None:
    pytest.importorskip("adapterlab.base.torchvision_compat")
    peft = pytest.importorskip("peft")
    strategy = of(bias=BitFit(), update=kind(rank=2, alpha=3))
    base = build(MODELS["mlp"], dtype=torch.float64)
    config = peft.LoraConfig(
        r=2, lora_alpha=3, target_modules=r"layers\.\d", bias="all", use_dora=kind is DoRA,
        modules_to_save=["head"],
    )  # fmt: skip
    theirs = peft.get_peft_model(copy.deepcopy(base), config).double().eval()
    ours = strategy.apply(base).eval()
    perturb(ours)
    names = {"lora_A": "lora_A.default.weight", "lora_B": "lora_B.default.weight"}
    names |= {"magnitude": "lora_magnitude_vector.default.weight", "bias": "base_layer.bias"}
    parameters = dict(theirs.named_parameters())
    pairs = []
    for name, parameter in ours.trainable().items():
        place, own = name.rpartition(".")[::2]
        if place == "head":
            their = parameters[f"base_model.model.head.modules_to_save.default.{own}"]
        else:
            their = parameters[f"base_model.model.{place.removesuffix('.base')}.{names[own]}"]
        their.data.copy_(parameter.data)
        pairs.append((parameter, their))
    x = inputs(dtype=torch.float64)
    for logits in (both := (ours(x), theirs(x))):
        logits.square().sum().backward()
    torch.testing.assert_close(*both, **CLOSE)
    assert len(pairs) == (4 if kind is DoRA else 3) * 3 + 2
    for parameter, their in pairs:
        torch.testing.assert_close(parameter.grad, their.grad, rtol=1e-10, atol=1e-12)


SHARING: dict[str, tuple[Combined, str]] = {
    "lora_bitfit": (of(bias=BitFit(), lora=LORA), "LoRA rank 2, scale 1.5; bias only"),
    "lora_bottleneck": (
        of(lora=LORA, neck=Bottleneck(size=2, targets="all-linear")),
        "bottleneck 2 after, relu; LoRA rank 2, scale 1.5",
    ),
    "all three": (
        of(
            bias=BitFit(), dora=DoRA(rank=2, alpha=3), neck=Bottleneck(size=2, targets="all-linear")
        ),
        "bottleneck 2 after, relu; DoRA rank 2, scale 1.5; bias only",
    ),
    "in full": (
        of(full=Full(targets="layers.1*"), neck=Bottleneck(size=2, targets="layers.1*")),
        "bottleneck 2 after, relu; in full",
    ),
    "bias and weight apart": (
        of(bias=BitFit(), weight=Full(targets=["layers.1*.weight"])),
        "in full",
    ),
}


@pytest.mark.parametrize(("strategy", "said"), SHARING.values(), ids=SHARING)
def test_the_plan_says_all_that_is_trained_in_a_layer(strategy: Combined, said: str) -> None:
    made = adapted(strategy)
    planned = {layer.name: layer for layer in plan(made).layers}
    assert planned["layers.1"].method == said
    assert sum(layer.adapter for layer in planned.values()) == made.count().adapter


@pytest.mark.parametrize("strategy", [one for one, _ in SHARING.values()], ids=SHARING)
def test_checkpoints_and_packs(strategy: Combined, tmp_path: Path) -> None:
    models = [adapted(strategy, "encoder", seed) for seed in range(3)]
    save_adapter(models[0], tmp_path / "a.safetensors")
    fresh = strategy.apply(build(MODELS["encoder"], dtype=torch.float64), seed=7).eval()
    load_adapter(fresh, tmp_path / "a.safetensors")
    x = inputs(4, dtype=torch.float64)
    assert torch.equal(fresh(x), models[0](x))
    states = [{name: t.clone() for name, t in model.state().items()} for model in models]
    share_frozen(models)
    assert try_out(models, x, torch.arange(4) % 3) == [0, 1, 2]
    pack = PackedModel(models, [0, 0, 0]).eval()
    pack.keep([2, 1])
    for lane, own in enumerate((2, 1)):
        assert_same(pack.lane_state(lane), states[own])
        logits = pack(x, rows=4, together=True)[lane]
        torch.testing.assert_close(logits, models[own](x), **CLOSE)


def test_an_update_with_a_bias_of_its_own_is_merged() -> None:
    made = adapted(of(bias=BitFit(), lora=LORA))
    x = inputs(dtype=torch.float64)
    torch.testing.assert_close(merge(made)(x), made(x), **CLOSE)


def test_other_kinds_at_a_place_are_side_by_side_in_one_pack() -> None:
    neck = Bottleneck(size=2, targets="all-linear")
    strategies = [of(lora=LORA, neck=neck), LORA, neck, of(bias=BitFit(), lora=LORA)]
    models = [adapted(strategy, seed=seed) for seed, strategy in enumerate(strategies)]
    assert len({signature(model).ground for model in models}) == 1
    share_frozen(models)
    x = inputs(4, dtype=torch.float64)
    assert try_out(models, x, torch.arange(4) % 3) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: of(edit=ReFT(rank=1), neck=Bottleneck(size=1)), "is in edit and in neck"),
        (lambda: of(lora=LORA, weight=Full(targets="layers.0.weight")), "is in lora and in weight"),
        (lambda: of(bias=BitFit(), more=Full(targets="layers.0.bias")), "is in bias and in more"),
    ],
)
def test_what_could_mean_two_things_is_refused(make: Callable[[], Combined], message: str) -> None:
    base = build(MODELS["mlp"])
    modules = dict(base.named_modules())
    with pytest.raises(ConfigError, match=rf"adapter\.parts: layers\.0 {message}; leave it out"):
        make().apply(base)
    assert dict(base.named_modules()) == modules
    assert not any(isinstance(module, LoRALinear) for module in base.modules())


PRESETS: dict[str, tuple[str, ...]] = {
    "lora_last_layers": ("model.widths=[16,8]", "adapter.parts.lora.rank=2"),
    "lora_bitfit": ("adapter.parts.lora.rank=2",),
    "lora_bottleneck": ("adapter.parts.bottleneck.placement=parallel",),
    "dora_bottleneck": ("adapter.parts.dora.rank=2",),
}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("preset", "options"), PRESETS.items(), ids=PRESETS)
def test_a_preset_is_trained(preset: str, options: tuple[str, ...], tmp_path: Path) -> None:
    result = run(tiny(tmp_path, f"adapter={preset}", *options, "epochs=1", "base.epochs=1"))
    assert 0 <= result.metrics["test/accuracy"] <= 1


def test_all_but_the_last_layers() -> None:
    strategy = LoRA(rank=1, layers="all but last 2")
    made = strategy.apply(build(MODELS["mlp"]))
    assert [n for n, m in made.model.named_modules() if isinstance(m, LoRALinear)] == ["layers.0"]
    assert strategy.in_one_way(build(MODELS["mlp"]))["layers"] == "first 1"
    with pytest.raises(ConfigError, match=r"layers=all but last 3: the model has 3 layers"):
        LoRA(rank=1, layers="all but last 3").apply(build(MODELS["mlp"]))


def test_a_preset_that_the_model_has_no_place_for_is_refused(tmp_path: Path) -> None:
    for preset, message in (
        ("lora_norm", "norm"),
        ("lora_last_layers", "all but last 1: the model has 1 layer"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            check(tiny(tmp_path, f"adapter={preset}"))
        assert "\n" not in str(caught.value)


def test_modules_stay_modules() -> None:
    made = adapted(of(lora=LORA, neck=Bottleneck(size=2, targets="all-linear")))
    assert isinstance(made.model.get_submodule("layers.0.base.base"), nn.Linear)
