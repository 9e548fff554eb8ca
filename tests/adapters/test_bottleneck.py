"""Bottlenecks: golden numbers by hand, where the placements have them, and what is refused."""

from functools import partial
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, build, perturb
from torch import nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import AdaptedModel, Bottleneck, BottleneckLinear
from adapterlab.adapters.budget import fit
from adapterlab.adapters.insertion_points import feed_forwards
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP
from adapterlab.packing import PackedModel, share_frozen
from small_images import classifier


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def set_values(layer: BottleneckLinear, **values: Any) -> None:
    with torch.no_grad():
        for name, value in values.items():
            getattr(layer, name).copy_(torch.tensor(value))


def test_golden_numbers_after_a_layer() -> None:
    """h = (1+2·2, 3) + (0, -1) = (5, 2); D h + c = (5-2-1, -2) -> relu (2, 0)."""
    layer = BottleneckLinear(linear([[1, 2], [3, 0]], [0, -1]), size=2, width=2, scale=2.0)
    set_values(
        layer, down=[[1, -1], [0, -1]], down_bias=[-1, 0], up=[[1, 9], [0.5, 9]], up_bias=[0, 0.25]
    )
    y = layer(torch.tensor([[1.0, 2.0]]))
    assert torch.equal(y, torch.tensor([[5 + 2 * 2.0, 2 + 2 * 1.25]]))


def test_golden_numbers_beside_a_layer() -> None:
    """D x + c = 1 + 2·2 - 1 = 4; h = 5, -1; y = h + 4 · U relu(4)."""
    layer = BottleneckLinear(
        linear([[1, 2], [1, -1]], [0, 0]), size=1, width=2, scale=4.0, beside=True
    )
    set_values(layer, down=[[1, 2]], down_bias=[-1], up=[[0.5], [-1]])
    y = layer(torch.tensor([[1.0, 2.0]]))
    assert torch.equal(y, torch.tensor([[5 + 4 * 2.0, -1 + 4 * -4.0]]))


def test_first_values() -> None:
    def made(init: Any) -> BottleneckLinear:
        generator = torch.Generator().manual_seed(0)
        return BottleneckLinear(
            nn.Linear(4, 400), size=100, width=400, init=init, generator=generator
        )

    kaiming, bert, houlsby = made("kaiming"), made("bert"), made("houlsby")
    assert kaiming.down.abs().max().item() == pytest.approx(1 / 20, rel=0.01)
    assert not kaiming.up.any()
    for matrix in (bert.down, bert.up):
        assert matrix.std().item() == pytest.approx(0.02, rel=0.03)
    for matrix in (houlsby.down, houlsby.up):
        assert 0.019 < matrix.abs().max().item() <= 0.02
        assert matrix.std().item() == pytest.approx(0.00880, rel=0.03)  # of a normal cut at 2σ
    for layer in (kaiming, bert, houlsby):
        assert not layer.down_bias.any()
        assert not layer.up_bias.any()


def places(adapted: AdaptedModel) -> list[str]:
    return [n for n, m in adapted.model.named_modules() if isinstance(m, BottleneckLinear)]


BERT = "model.bert.encoder.layer.{}"


@pytest.mark.parametrize(
    ("placement", "expected", "factor"),
    [
        ("houlsby", ["attention.output.dense", "output.dense"], 16),
        ("pfeiffer", ["output.dense"], 16),
        ("parallel", ["output.dense"], 2),
    ],
)
def test_placements_in_a_text_encoder(placement: Any, expected: list[str], factor: int) -> None:
    adapted = Bottleneck(placement=placement).apply(encoder("bert"))
    assert places(adapted) == [f"{BERT.format(i)}.{end}" for i in (0, 1) for end in expected]
    size = 32 // factor
    assert adapted.count().adapter == 2 * len(expected) * (2 * 32 * size + 32 + size)
    last = Bottleneck(placement=placement, layers="last 1", size=3).apply(encoder("bert"))
    assert places(last) == [f"{BERT.format(1)}.{end}" for end in expected]
    assert last.count().adapter == len(expected) * (2 * 32 * 3 + 32 + 3)


@pytest.mark.parametrize(
    "architecture",
    [
        "roberta",
        "distilbert",
        "deberta-v2",
        "modernbert",
        "albert",
        "mpnet",
        "gpt2",
        "opt",
        "llama",
    ],
)
def test_parallel_reads_what_the_feed_forward_network_reads(architecture: str) -> None:
    model = encoder(architecture, dtype=torch.float64)
    seen: dict[str, torch.Tensor] = {}
    networks = feed_forwards(model)
    adapted = Bottleneck(placement="parallel", size=3).apply(model).eval()
    perturb(adapted)
    checked: list[str] = []

    def check(first: str, module: Any, args: Any, y: torch.Tensor) -> None:
        inner = torch.relu(seen[first] @ module.down.mT + module.down_bias)
        update = 4.0 * (inner @ module.up.mT + module.up_bias)
        torch.testing.assert_close(y, module.base(args[0]) + update)
        assert update.abs().max() > 1e-3
        checked.append(first)

    for first, last in networks:
        adapted.model.get_submodule(first).register_forward_pre_hook(
            lambda module, args, first=first: seen.__setitem__(first, args[0])
        )
        adapted.model.get_submodule(last).register_forward_hook(partial(check, first))
    assert adapted(tokens(adapted)).isfinite().all()
    assert set(checked) == {first for first, _ in networks}
    assert len(networks) == len(model.blocks)


@pytest.mark.parametrize("placement", ["houlsby", "parallel"])
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert", "albert", "gpt2"])
def test_padding_and_packs_on_encoders(architecture: str, placement: Any) -> None:
    strategies = [Bottleneck(placement=placement, size=1 + i, scale=1.0 + i) for i in range(3)]
    models = [
        strategy.apply(encoder(architecture, dtype=torch.float64), seed=seed).eval()
        for seed, strategy in enumerate(strategies)
    ]
    for seed, model in enumerate(models):
        perturb(model, seed=seed)
    expected = [model(tokens(model)) for model in models]
    padded = models[0](tokens(models[0], padding=5))
    torch.testing.assert_close(padded, expected[0], rtol=1e-10, atol=1e-12)
    share_frozen(models)
    pack = PackedModel(models, [0, 0, 0]).eval()
    logits = pack(tokens(models[0]), rows=6, together=True)
    for lane, own in enumerate(expected):
        torch.testing.assert_close(logits[lane], own, rtol=1e-10, atol=1e-12)


IMAGES = {
    ("vit", "houlsby"): ("attention.o_proj", "mlp.fc2"),
    ("swin", "parallel"): ("mlp.fc2",),
    ("dinov2", "pfeiffer"): ("mlp.fc2",),
    ("convnext", "parallel"): ("pwconv2",),
}


@pytest.mark.parametrize(("case", "ends"), IMAGES.items(), ids=lambda case: str(case))
def test_placements_in_image_classifiers(case: tuple[str, Any], ends: tuple[str, ...]) -> None:
    family, placement = case
    base = classifier(family).eval()
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    expected = base(images)
    adapted = Bottleneck(placement=placement, size=2).apply(classifier(family)).eval()
    found = places(adapted)
    assert {name.split(".", 1)[1].endswith(ends) for name in found} == {True}
    assert len(found) == len(ends) * (3 if family == "convnext" else 2)
    torch.testing.assert_close(adapted(images), expected, rtol=1e-12, atol=1e-12)
    perturb(adapted)
    assert (adapted(images) - expected).abs().max() > 1e-3


def test_an_mlp_has_them_at_its_layers() -> None:
    model = MLP((5,), 3, widths=(8, 6))
    assert places(Bottleneck(size=2).apply(model)) == ["layers.0", "layers.1"]
    beside = Bottleneck(placement="parallel", size=2).apply(MLP((5,), 3, widths=(8, 6)))
    assert beside.count().adapter == 2 * (5 + 8 + 1) + 8 + 2 * (8 + 6 + 1) + 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"placement": "hulsby"}, r"adapter.placement=hulsby; allowed: .* .did you mean houlsby"),
        ({"size": 0}, "adapter.size=0 must be 1 or more"),
        ({"reduction_factor": 0}, "adapter.reduction_factor=0 must be 1 or more"),
        ({"size": 2, "reduction_factor": 2}, "say the same; leave one of them out"),
        ({"non_linearity": "sigmoid"}, "adapter.non_linearity=sigmoid; allowed: relu"),
        ({"scale": 0.0}, "adapter.scale=0 must be finite and not 0"),
        ({"init": "zero"}, "adapter.init=zero; allowed: kaiming, bert, houlsby"),
        ({"layers": "middle"}, "adapter.layers=middle; allowed: all"),
    ],
)
def test_a_mistake_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Bottleneck(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: build(MODELS["encoder"]), {}, "pfeiffer needs feed-forward layers, and this mo"),
        (lambda: classifier("resnet"), {}, r"feed-forward .*models with: convnext, mlp, bert_base"),
        (lambda: classifier("convnext"), {"placement": "houlsby"}, "houlsby needs attention lay"),
        (lambda: encoder("squeezebert"), {}, "output.conv1d is a convolution"),
        (lambda: encoder("bert"), {"targets": "nothing"}, "'nothing' matches no layer"),
    ],
)
def test_a_model_without_a_place_is_refused(
    make: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Bottleneck(**options).apply(make())
    assert "\n" not in str(caught.value)


def test_a_budget_sets_the_size() -> None:
    with torch.device("meta"):
        model = encoder("bert")
    per_size, fixed = 2 * (2 * 32 + 1), 2 * 32 + (32 * 32 + 32 + 32 * 3 + 3 - 32 * 32 - 32)
    fitted = fit(Bottleneck(reduction_factor=4), model, 5 * per_size + fixed + 7)
    assert fitted.strategy == Bottleneck(size=5)


def test_places_are_named_in_one_way() -> None:
    model = encoder("bert")
    assert Bottleneck(layers=[1]).in_one_way(model) == {"layers": "last 1"}
    assert Bottleneck(layers="first 2").in_one_way(model) == {"layers": "all"}
    chosen = Bottleneck(targets=["ffn"], layers=[0]).in_one_way(model)
    assert chosen == {"targets": ["ffn"], "layers": "first 1"}
