"""Updates of layers that are no `nn.Linear`: transformers' Conv1D, and convolutions."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from one_layer import CLOSE, as_peft_has_it, perturb
from transformers.pytorch_utils import Conv1D

from adapterlab.adapters import (
    AdaptedModel,
    DoRA,
    Full,
    LoRA,
    Strategy,
    load_adapter,
    merge,
    plan,
    save_adapter,
)
from adapterlab.adapters.formats.peft import save_peft
from adapterlab.adapters.weights import matrix, with_matrix
from adapterlab.base.errors import ConfigError
from adapterlab.models import ClassifierModel, wrapped
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.packing.trial import try_out

CHANNELS, PLACES, CLASSES = 4, 7, 3

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Conv1D": lambda: Conv1D(6, CHANNELS),
    "pointwise": lambda: nn.Conv1d(CHANNELS, 6, 1),
    "wide": lambda: nn.Conv1d(CHANNELS, 6, 3, padding=1),
    "striding": lambda: nn.Conv1d(CHANNELS, 6, 3, stride=2, bias=False),
}
OWN: dict[str, Callable[[], nn.Module]] = {
    "grouped": lambda: nn.Conv1d(CHANNELS, 6, 3, padding="same", groups=2),
    "depthwise": lambda: nn.Conv1d(CHANNELS, 2 * CHANNELS, 3, groups=CHANNELS),
    "dilated": lambda: nn.Conv1d(CHANNELS, 6, 2, dilation=2),
}
STRATEGIES = {
    "lora": LoRA(rank=2, alpha=3, targets=["layers.0"]),
    "rslora": LoRA(rank=2, alpha=3, targets=["layers.0"], scaling="alpha_over_sqrt_rank"),
    "dora": DoRA(rank=2, alpha=3, targets=["layers.0"]),
}


class Net(nn.Module):
    """One layer over places, a nonlinearity, and a head over their mean."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer])
        self.linear = nn.Linear(matrix(layer).shape[0], 5)
        self.classifier = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        (layer,) = self.layers
        own = layer.base if hasattr(layer, "base") else layer
        own = own.base_layer if hasattr(own, "base_layer") else own
        y = layer(x) if isinstance(own, Conv1D) else layer(x.mT).mT
        return self.classifier(self.linear(torch.tanh(y)).tanh().mean(1))


def model(name: str, dtype: torch.dtype = torch.float64) -> ClassifierModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = (LAYERS | OWN)[name]()
        net = wrapped(lambda: Net(layer), head="classifier", blocks=["layers.0"], generator=None)
    return net.to(dtype)


def inputs(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, PLACES, CHANNELS, generator=generator, dtype=dtype)


@pytest.mark.parametrize("name", LAYERS | OWN)
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
class TestLaws:
    def test_it_starts_as_the_base_and_merges(self, name: str, strategy: LoRA) -> None:
        base, x = model(name), inputs()
        adapted = strategy.apply(copy.deepcopy(base))
        torch.testing.assert_close(adapted(x), base(x), **CLOSE)
        perturb(adapted)
        logits = adapted(x)
        assert (logits - base(x)).abs().max() > 1e-3
        merged = merge(adapted)
        assert merged.state_dict().keys() == base.state_dict().keys()
        assert type(merged.model.layers[0]) is type(base.model.layers[0])
        torch.testing.assert_close(merged(x), logits, **CLOSE)

    def test_counts_are_the_matrix_ones_and_need_no_weights(
        self, name: str, strategy: LoRA
    ) -> None:
        adapted = strategy.apply(model(name, torch.float32))
        d_out, d_in = matrix(adapted.model.model.layers[0].base).shape
        expected = 2 * (d_in + d_out) + d_out * isinstance(strategy, DoRA)
        assert adapted.count().adapter == expected
        with torch.device("meta"):
            weightless = model(name, torch.float32)
        assert plan(strategy.apply(weightless)) == plan(adapted)

    def test_a_checkpoint_restores_the_logits(
        self, name: str, strategy: LoRA, tmp_path: Path
    ) -> None:
        adapted, fresh = (strategy.apply(model(name), seed=seed) for seed in (1, 2))
        perturb(adapted)
        save_adapter(adapted, tmp_path / "a.safetensors")
        load_adapter(fresh, tmp_path / "a.safetensors")
        assert torch.equal(fresh(inputs()), adapted(inputs()))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_logits_and_gradients_are_pefts_and_so_is_its_file(
    name: str, strategy: LoRA, tmp_path: Path
) -> None:
    as_peft_has_it(strategy, lambda: model(name), inputs(), tmp_path)


@pytest.mark.parametrize("name", OWN)
def test_an_update_that_peft_computes_otherwise_has_no_file(name: str, tmp_path: Path) -> None:
    adapted = STRATEGIES["lora"].apply(model(name))
    with pytest.raises(ConfigError, match=r"layers\.0, a convolution with (groups|dilation)="):
        save_peft(adapted, tmp_path)


@pytest.mark.parametrize("name", LAYERS | OWN)
def test_lanes_of_a_pack_compute_what_they_do_alone(name: str) -> None:
    for strategy in STRATEGIES.values():
        lanes = [strategy.apply(model(name), seed=seed) for seed in range(3)]
        for lane in lanes:
            perturb(lane)
        assert try_out(lanes, inputs(), torch.tensor([0, 1, 2, 0, 1, 2])) == [0, 1, 2]
        packed = PackedModel(lanes, [0, 0, 1])
        x = torch.cat([inputs(), inputs() + 1])
        alone = [lanes[0](x[:6]), lanes[1](x[:6]), lanes[2](x[6:])]
        torch.testing.assert_close(packed(x, 6), torch.stack(alone), **CLOSE)


def test_targets_of_a_kind() -> None:
    def layers(name: str, targets: str | list[str]) -> list[str]:
        chosen = plan(LoRA(rank=1, targets=targets, head="freeze").apply(model(name))).layers
        return [layer.name.removeprefix("model.") for layer in chosen]

    assert layers("Conv1D", "all-linear") == ["layers.0", "linear"]
    assert layers("wide", "all-linear") == ["linear"]
    assert layers("wide", "all-conv") == ["layers.0"]
    assert layers("wide", ["all-linear", "all-conv"]) == ["layers.0", "linear"]
    with pytest.raises(ConfigError, match="'all-conv' matches no layer"):
        layers("Conv1D", "all-conv")
    for target in ("all-linear", "all-conv", ["all-conv", "all-linear"]):
        assert LoRA(targets=target).in_one_way(model("wide"))["targets"] == target


def test_what_is_no_matrix_per_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="magnitude=per_input is of linear layers"):
        DoRA(targets="all-conv", magnitude="per_input").apply(model("wide"))
    padding = nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")
    net = wrapped(lambda: Net(padding), head="classifier", blocks=[], generator=None)
    with pytest.raises(ConfigError, match="'all-conv' matches no layer"):
        LoRA(targets="all-conv").apply(net)


def test_a_new_layer_has_type_and_missing_bias_of_the_old() -> None:
    for make in (LAYERS | OWN).values():
        layer = make()
        new = with_matrix(layer, matrix(layer).detach())
        assert type(new) is type(layer)
        assert (new.bias is None) == (layer.bias is None)
        x = torch.randn(2, PLACES, CHANNELS)
        x = x if isinstance(layer, Conv1D) else x.mT
        assert torch.equal(new(x), layer(x))
        assert not any(p.requires_grad for p in new.parameters())


class Twice(nn.Module):
    """A layer under two names, and another that shares its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(CHANNELS, CHANNELS)
        self.again, self.tied = self.one, nn.Linear(CHANNELS, CHANNELS)
        self.tied.weight = self.one.weight
        self.head = nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tied(self.again(torch.tanh(self.one(x)))))


@pytest.mark.parametrize("strategy", [LoRA(rank=2), DoRA(rank=2), Full()], ids=type)
def test_what_has_two_names_is_adapted_under_both_and_saved_once(
    strategy: Strategy, tmp_path: Path
) -> None:
    def make(seed: int = 0) -> AdaptedModel:
        generator = torch.Generator().manual_seed(0)
        model = wrapped(Twice, head="head", blocks=["one"], generator=generator)
        return strategy.apply(model, seed=seed)

    adapted, x = make(), torch.randn(5, CHANNELS)
    perturb(adapted)
    inner = adapted.model.get_submodule("model")
    assert inner.again is inner.one
    assert adapted.state().keys() == adapted.trainable().keys()
    torch.testing.assert_close(merge(adapted)(x), adapted(x))
    save_adapter(adapted, path := tmp_path / "adapter.safetensors")
    fresh = make()
    load_adapter(fresh, path)
    assert torch.equal(fresh(x), adapted(x))
    if not isinstance(strategy, Full):  # which trains weights that two layers share
        with pytest.raises(ConfigError, match=r"adapt model\.one and not model\.again, which is"):
            save_peft(adapted, tmp_path / "peft")
        models = [make(seed) for seed in range(2)]
        share_frozen(models)
        assert try_out(models, x, torch.arange(5) % CLASSES) == [0, 1]
        assert PackedModel(models, [0, 0]).lane_state(0).keys() == models[0].state().keys()
