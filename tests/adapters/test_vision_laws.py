"""The laws of test_laws.py on image classifiers of every family, PEFT's results, and packs."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from adapter_cases import assert_same, perturb, snapshot
from torch import Tensor, nn

from adapterlab.adapters import (
    AdaptedModel,
    AdapterLayer,
    BitFit,
    DoRA,
    Full,
    LastLayers,
    LoRA,
    LoRALinear,
    Strategy,
    load_adapter,
    merge,
    plan,
    save_adapter,
)
from adapterlab.adapters.formats.peft import save_peft
from adapterlab.models.frozen import keeps_statistics
from adapterlab.models.timm_images import timm_image
from adapterlab.models.vision import VisionClassifier
from adapterlab.packing import CannotPackError, PackedModel, share_frozen, signature
from adapterlab.packing.trial import try_out
from small_images import CLASSES, FAMILIES, classifier

CLOSE = {"rtol": 1e-10, "atol": 1e-12}

_TARGETS = {
    **dict.fromkeys(("vit", "deit", "dinov2", "swin", "timm_vit"), ("attention", "mlp")),
    "dinov2": ("attention", "conv"),  # its patches' projection is asked for its type
    "convnext": ("mlp", "conv"),
    "resnet": ("conv", "conv"),
    "timm_efficientnet": ("pointwise", "conv"),
}
_TIMM = {"timm_vit": "test_vit", "timm_efficientnet": "test_efficientnet"}


@cache
def _of_timm(name: str) -> VisionClassifier:
    pytest.importorskip("timm")
    generator = torch.Generator().manual_seed(0)
    model = timm_image(
        (3, 8, 8), CLASSES, name_or_path=name, image_size=32, weights="random", generator=generator
    )
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor += 0.05 * torch.rand(tensor.shape, generator=generator)
    return model


def base(family: str, dtype: torch.dtype = torch.float64) -> VisionClassifier:
    if family in _TIMM:
        return copy.deepcopy(_of_timm(_TIMM[family])).to(dtype)
    return classifier(family, dtype=dtype)


STRATEGIES: dict[str, Callable[[str], Strategy]] = {
    "full": lambda family: Full(),
    "last_layers": lambda family: LastLayers(n=1),
    "bitfit": lambda family: BitFit(),
    "lora": lambda family: LoRA(rank=2, alpha=3, targets=_TARGETS[family][0], head="adapt"),
    "dora": lambda family: DoRA(rank=2, alpha=3, targets=_TARGETS[family][1], dropout=0.2),
}
ALL = [*FAMILIES, *_TIMM]


@pytest.fixture(params=[(family, name) for family in ALL for name in STRATEGIES], ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, Strategy]:
    family, name = request.param
    return family, STRATEGIES[name](family)


def images(model: nn.Module, batch: int = 4) -> Tensor:
    own = model.model if isinstance(model, AdaptedModel) else model
    side = own.pixels.size[0]
    dtype = next(own.parameters()).dtype
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, side, side, generator=generator, dtype=dtype)


def train(adapted: AdaptedModel, steps: int) -> list[float]:
    optimizer = torch.optim.SGD(adapted.parameters(), lr=1e-3, weight_decay=0.1)
    x = images(adapted)
    labels = torch.arange(len(x)) % CLASSES
    adapted.train()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(adapted(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class TestLaws:
    def test_it_starts_as_the_base_and_merges(self, case: tuple[str, Strategy]) -> None:
        family, strategy = case
        model = base(family).eval()
        x = images(model)
        expected = model(x)
        assert expected.shape == (4, CLASSES)
        assert expected.std(0).min() > 1e-6  # the inputs matter
        adapted = strategy.apply(base(family)).eval()
        torch.testing.assert_close(adapted(x), expected, **CLOSE)
        perturb(adapted)
        logits = adapted(x)
        assert (logits - expected).abs().max() > 1e-3
        merged = merge(adapted)
        torch.testing.assert_close(merged(x), logits, rtol=1e-9, atol=1e-9)
        assert merged.state_dict().keys() == model.state_dict().keys()
        assert not any(isinstance(module, AdapterLayer) for module in merged.modules())

    def test_what_is_frozen_stays_and_what_is_trained_moves(
        self, case: tuple[str, Strategy], tmp_path: Path
    ) -> None:
        family, strategy = case
        adapted = strategy.apply(base(family))
        trainable = adapted.trainable()
        before = snapshot(adapted.model)
        statistics = {
            f"{name}.running_mean": all(p.requires_grad for p in module.parameters())
            for name, module in adapted.model.named_modules()
            if keeps_statistics(module)
        }
        train(adapted, steps=2)
        after = snapshot(adapted.model)
        still = ("k_proj.bias",)  # adds the same to all scores of a query, which softmax takes out
        for name, parameter in adapted.model.named_parameters():
            if name in trainable:
                unused = parameter.grad is None or not parameter.grad.any()
                assert not unused or name.endswith(still) or "mask_token" in name, name
            else:
                assert parameter.grad is None, name
                assert torch.equal(after[name], before[name]), name
        for name, moves in statistics.items():
            assert torch.equal(after[name], before[name]) != moves, name
        save_adapter(adapted, tmp_path / "a.safetensors")
        fresh = strategy.apply(base(family), seed=3)
        load_adapter(fresh, tmp_path / "a.safetensors")
        x = images(adapted)
        assert torch.equal(fresh.eval()(x), adapted.eval()(x))

    def test_the_plan_needs_no_weights_and_counts_what_there_is(
        self, case: tuple[str, Strategy]
    ) -> None:
        family, strategy = case
        adapted = strategy.apply(base(family, torch.float32))
        weightless = strategy.apply(base(family, torch.float32).to("meta"))
        assert plan(weightless) == plan(adapted)
        assert adapted.count().trainable == sum(p.numel() for p in adapted.trainable().values())

    def test_same_seed_gives_the_same_training(self, case: tuple[str, Strategy]) -> None:
        family, strategy = case
        results = []
        for global_seed in (0, 1):
            torch.manual_seed(global_seed)
            adapted = strategy.apply(base(family, torch.float32), seed=5)
            results.append((train(adapted, steps=1), snapshot(adapted)))
        assert results[0][0] == results[1][0]
        assert_same(results[0][1], results[1][1])

    def test_lanes_of_a_pack_compute_what_they_do_alone(self, case: tuple[str, Strategy]) -> None:
        family, strategy = case
        lanes = [strategy.apply(base(family), seed=0)]
        if (why := why_alone(family, strategy)) is not None:
            with pytest.raises(CannotPackError, match=why):
                signature(lanes[0])
            return
        other = replace(strategy, rank=3) if isinstance(strategy, LoRA) else strategy
        lanes.append(other.apply(base(family), seed=1))
        for seed, lane in enumerate(lanes):
            perturb(lane, seed=seed)
            with torch.no_grad():
                for parameter in lane.trainable().values():
                    parameter *= 0.3  # else rounding is that of numbers of thousands
        share_frozen(lanes)
        x = images(lanes[0])
        if family == "swin" and strategy in (STRATEGIES["lora"]("swin"), BitFit()):
            # Its attention has the windows of all images for rows.
            with pytest.raises(CannotPackError, match="cannot be computed for several lanes"):
                try_out(lanes, x, torch.arange(4) % CLASSES)
            return
        assert try_out(lanes, x, torch.arange(4) % CLASSES) == [0, 1]
        pack = PackedModel(lanes, [0, 1]).eval()
        logits = pack(torch.cat([x, x + 1]), 4)
        for lane, model in enumerate(lanes):
            torch.testing.assert_close(logits[lane], model.eval()(x + lane), rtol=1e-9, atol=1e-9)


def why_alone(family: str, strategy: Strategy) -> str | None:
    """Return what keeps a strategy on a family out of packs; None if nothing does."""
    if isinstance(strategy, LoRA):
        return None
    plain_norms = ("vit", "deit", "dinov2", "swin", "resnet")
    if isinstance(strategy, BitFit):
        return None if family in plain_norms else r"Norm(Act2d)? has no batched counterpart"
    if isinstance(strategy, LastLayers) and family in ("vit", "deit"):
        return None
    if family == "resnet":
        return "keeps statistics of the batch"
    return "has no batched counterpart"


@pytest.mark.parametrize("strategy", [LoRA, DoRA])
@pytest.mark.parametrize("family", ["vit", "convnext", "resnet", "timm_vit"])
def test_pefts_model_of_its_file_is_ours(family: str, strategy: type[LoRA], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = base(family).eval()
    # Of convnext its depthwise convolutions have no file in PEFT's format.
    targets = [n for n in _TARGETS[family] if family != "convnext" or n == "mlp"]
    ours = strategy(rank=2, alpha=3, targets=targets).apply(copy.deepcopy(model)).eval()
    assert any(isinstance(layer, LoRALinear) for layer in ours.modules())
    perturb(ours)
    save_peft(ours, tmp_path)
    theirs = peft.PeftModel.from_pretrained(model.model, tmp_path).double().eval()
    output = theirs(images(model))
    logits = output if isinstance(output, Tensor) else output.logits
    torch.testing.assert_close(logits, ours(images(model)), rtol=1e-9, atol=1e-9)
