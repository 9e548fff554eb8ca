"""LoRA and DoRA on convolutions of images: PEFT's where it has them, and in packs."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from one_layer import CLOSE, as_peft_has_it, perturb
from torch import Tensor, nn

import adapterlab.base.torchvision_compat  # noqa: F401  # before PEFT and timm, which import torchvision
from adapterlab.adapters import (
    BOFT,
    GPS,
    IA3,
    AdaptedModel,
    DiffPruning,
    DoRA,
    LoRA,
    VeRA,
    merge,
)
from adapterlab.adapters.formats.peft import save_peft
from adapterlab.adapters.methods.lora import LoRAConv
from adapterlab.adapters.weights import is_convolution
from adapterlab.base.errors import ConfigError
from adapterlab.models import ClassifierModel, wrapped
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.packing.trial import try_out

CHANNELS, SIDE, CLASSES = 4, 7, 3


class PadsItself(nn.Conv2d):
    """As TensorFlow does, and timm's models that are from there: as the size of images asks."""

    def forward(self, x: Tensor) -> Tensor:
        (step, _), (kernel, _) = self.stride, self.kernel_size
        lacking = max((-(-x.shape[-1] // step) - 1) * step + kernel - x.shape[-1], 0)
        sides = (lacking // 2, lacking - lacking // 2)
        padded = nn.functional.pad(x, (*sides, *sides))
        return nn.functional.conv2d(
            padded, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class PadsMore(nn.Conv2d):
    """Pads whatever the kernel: PEFT's B, which is of the base's class, would as well."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))


class Standardised(nn.Conv2d):
    """Its output is not linear in its weight."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.flatten(1)
        weight = (flat - flat.mean(1, True)) / flat.std(1, keepdim=True)
        return self._conv_forward(x, weight.view_as(self.weight), self.bias)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "pointwise": lambda: nn.Conv2d(CHANNELS, 6, 1),
    "wide": lambda: nn.Conv2d(CHANNELS, 6, (3, 2), padding=1),
    "striding": lambda: nn.Conv2d(CHANNELS, 6, 3, stride=2, bias=False),
    "same": lambda: nn.Conv2d(CHANNELS, 6, 3, padding="same"),
    "pads_itself": lambda: PadsItself(CHANNELS, 6, 3, stride=2),
}
OWN: dict[str, Callable[[], nn.Module]] = {
    "grouped": lambda: nn.Conv2d(CHANNELS, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, padding=1, groups=CHANNELS),
    "depthwise_pads_itself": lambda: PadsItself(CHANNELS, CHANNELS, 3, groups=CHANNELS),
    "dilated": lambda: nn.Conv2d(CHANNELS, 6, 2, dilation=2),
    "pads_more": lambda: PadsMore(CHANNELS, 6, 3),
}
STRATEGIES = {
    "lora": LoRA(rank=2, alpha=3, targets="all-conv"),
    "rslora": LoRA(rank=2, alpha=3, targets="all-conv", scaling="alpha_over_sqrt_rank"),
    "dora": DoRA(rank=2, alpha=3, targets="all-conv"),
}


class Net(nn.Module):
    """A convolution, a nonlinearity, and a head over the mean of places."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer])
        self.classifier = nn.Linear(layer.out_channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.tanh(self.layers[0](x)).mean((2, 3)))


def model(name: str) -> ClassifierModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = (LAYERS | OWN)[name]()
        net = wrapped(lambda: Net(layer), head="classifier", blocks=["layers.0"], generator=None)
    return net.double()


def inputs(batch: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, CHANNELS, SIDE, SIDE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("name", LAYERS | OWN)
def test_it_starts_as_the_base_is_counted_and_merges(name: str, strategy: LoRA) -> None:
    base, x = model(name), inputs()
    layer = base.model.layers[0]
    adapted = strategy.apply(copy.deepcopy(base))
    torch.testing.assert_close(adapted(x), base(x), **CLOSE)
    rows, columns = layer.weight.flatten(1).shape
    assert adapted.count().adapter == 2 * (rows + columns) + rows * isinstance(strategy, DoRA)
    perturb(adapted)
    assert (adapted(x) - base(x)).abs().max() > 1e-3
    merged = merge(adapted)
    assert type(merged.model.layers[0]) is type(layer)
    assert merged.state_dict().keys() == base.state_dict().keys()
    torch.testing.assert_close(merged(x), adapted(x), **CLOSE)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("name", LAYERS)
def test_logits_gradients_and_file_are_pefts(name: str, strategy: LoRA, tmp_path: Path) -> None:
    x = inputs()
    ours, theirs = as_peft_has_it(strategy, lambda: model(name), x, tmp_path)
    assert isinstance(ours.model.model.layers[0], LoRAConv)
    merged = theirs.merge_and_unload()
    torch.testing.assert_close(merged(x), merge(ours)(x), **CLOSE)


@pytest.mark.parametrize("name", OWN)
def test_an_update_that_peft_computes_otherwise_has_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"layers\.0, a convolution with (groups|dilation|padding)"
    ):
        save_peft(STRATEGIES["lora"].apply(model(name)), tmp_path)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("name", LAYERS | OWN)
def test_lanes_of_any_rank_train_as_they_do_alone(name: str, strategy: LoRA) -> None:
    def lanes() -> list[AdaptedModel]:
        made = [
            replace(strategy, rank=rank, alpha=2 + rank, dropout=0.2).apply(model(name), seed=rank)
            for rank in (2, 1, 4)
        ]
        for seed, lane in enumerate(made):
            perturb(lane, seed)
        return made

    labels = torch.arange(6) % CLASSES
    alone = lanes()
    assert try_out(lanes(), inputs(), labels) == [0, 1, 2]
    together = lanes()
    share_frozen(together)
    for streams in ([0, 0, 0], [0, 0, 1], [0, 1, 2]):
        packed = PackedModel(together, streams).train()
        batches = torch.cat([inputs() + stream for stream in range(max(streams) + 1)])
        packed.reseed([0] * 3, [5, 6, 7])
        logits = packed(batches, 6)
        logits.square().sum().backward()
        for k, lane in enumerate(alone):
            lane.train().reseed(5 + k)
            lane.zero_grad()
            own = lane(inputs() + streams[k])
            torch.testing.assert_close(logits[k], own, **CLOSE)
            own.square().sum().backward()
            for parameter, gradient in packed.lane_gradients(k).items():
                expected = lane.trainable()[parameter].grad
                torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11)
    packed.keep([0, 2])
    with torch.no_grad():
        kept = packed.eval()(inputs(), 6, together=True)
        torch.testing.assert_close(kept[1], alone[2].eval()(inputs()), **CLOSE)


def test_what_takes_an_update() -> None:
    assert is_convolution(PadsItself(2, 3, 3))
    assert not is_convolution(Standardised(2, 3, 3))
    assert not is_convolution(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"))
    with torch.device("meta"):
        assert is_convolution(PadsItself(2, 3, 3))
    net = wrapped(lambda: Net(Standardised(4, 3, 3)), head="classifier", blocks=[], generator=None)
    with pytest.raises(ConfigError, match="'all-conv' matches no layer"):
        LoRA(targets="all-conv").apply(net)


def test_the_kind_that_a_network_has_is_named_beside_the_one_that_it_lacks() -> None:
    net = wrapped(lambda: Net(nn.Conv2d(4, 6, 3)), head="classifier", blocks=[], generator=None)
    with pytest.raises(ConfigError, match="'all-linear' matches no layer; all-conv would; "):
        LoRA(targets="all-linear").apply(net)


@pytest.mark.parametrize("method", [GPS, BOFT, DiffPruning, VeRA, IA3])
def test_a_method_of_linear_layers_does_not_send_to_those_it_cannot_adapt(method: Any) -> None:
    net = wrapped(lambda: Net(nn.Conv2d(4, 6, 3)), head="classifier", blocks=[], generator=None)
    said = "those of this model are convolutions; for convolutions there are lora, dora and ssf"
    with pytest.raises(ConfigError, match=f"'all-linear' matches no layer: {said}"):
        method(targets="all-linear").apply(net)
    with pytest.raises(ConfigError, match=r"is a convolution, .* there are lora, dora and ssf"):
        method(targets="all-conv").apply(net)


def test_timms_own_convolution_is_one() -> None:
    same = pytest.importorskip("timm.layers").Conv2dSame(4, 6, 3, stride=2)
    assert is_convolution(same)
    adapted = LoRA(rank=2, init="both_normal", init_std=0.5, targets="all-conv").apply(
        wrapped(lambda: Net(same), head="classifier", blocks=["layers.0"], generator=None).double()
    )
    for side in (6, 7):
        x = inputs()[..., :side, :side]
        torch.testing.assert_close(merge(adapted)(x), adapted.eval()(x), **CLOSE)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_the_weight_that_a_model_finds_is_the_one_computed_with(strategy: LoRA) -> None:
    adapted = strategy.apply(model("wide"))
    perturb(adapted)
    layer = adapted.model.model.layers[0]
    torch.testing.assert_close(layer.weight, layer.merged().weight, **CLOSE)
    assert layer.weight.requires_grad
    assert "weight" not in dict(layer.named_parameters(recurse=False))
