"""Steps of lanes of many rates, taken by the kernel alone: what the optimizer makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from adapterlab.adapters import DoRA, LoRA
from adapterlab.config.optimizers import Optimizer
from adapterlab.models import MLP
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.training.optimizers import settings_of
from adapterlab.training.packed import optimizers
from adapterlab.training.packed.optimizers import LaneOptimizer

ADAMW = Optimizer(
    name="adamw", target="torch.optim.AdamW", lr=0.01, weight_decay=0.1, schedule="cosine",
    plateau_patience=0, warmup=0.2, clip_norm=None, own={},
)  # fmt: skip
ADAM = replace(ADAMW, name="adam", target="torch.optim.Adam")
RATES = [0.01, 0.01, 0.02, 0.003]
STEPS = 12


def begun(options: Sequence[Optimizer]) -> LaneOptimizer:
    strategies = [LoRA(rank=2), DoRA(rank=3), DoRA(rank=1), DoRA(rank=2)]
    models = [
        strategy.apply(MLP((1, 3, 3), 4, generator=torch.Generator().manual_seed(0)), seed=seed)
        for seed, strategy in enumerate(strategies)
    ]
    share_frozen(models)
    pack = PackedModel(models, [0, 0, 1, 1])
    settings = [settings_of(model, one) for model, one in zip(models, options, strict=True)]
    return LaneOptimizer(pack, options, settings, total=STEPS)


def stepped(optimizer: LaneOptimizer, steps: range, lacking: Sequence[int] = ()) -> list[Any]:
    """Take steps on drawn gradients; return parameters and what is remembered of each lane."""
    pack = optimizer.pack
    for step in steps:
        drawn = torch.Generator().manual_seed(step)
        for number, parameter in enumerate(pack.parameters()):
            if parameter.requires_grad:
                parameter.grad = torch.randn(parameter.shape, generator=drawn)
                if step in lacking and number % 2:
                    parameter.grad = None
        optimizer.step()
    lanes = range(pack.count)
    return [(pack.lane_state(lane), optimizer.lane_state(lane)["tensors"]) for lane in lanes]


def of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "can_take", lambda _: False)


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    else:
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("first", [ADAMW, ADAM], ids=lambda one: one.name)
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("lacking", [(), (4, 5)], ids=["all", "some gradients lack"])
def test_it_is_what_torchs_optimizer_does(
    first: Optimizer, clip: float | None, lacking: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [replace(first, lr=rate, clip_norm=clip) for rate in RATES]
    ours = begun(options)
    found = stepped(ours, range(STEPS), lacking)
    assert ours._fused is not None
    of_torch(monkeypatch)
    theirs = begun(options)
    assert_equal(found, stepped(theirs, range(STEPS), lacking))
    assert theirs._fused is None


def test_it_is_when_lanes_leave_and_a_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    options = [replace(ADAMW, lr=rate) for rate in RATES]
    found = []
    for _ in range(2):
        optimizer = begun(options)
        stepped(optimizer, range(5))
        optimizer.keep([0, 2, 3])
        found.append(stepped(optimizer, range(5, STEPS)))
        of_torch(monkeypatch)
    assert_equal(*found)


@pytest.mark.parametrize("options", [{"amsgrad": True}, {"momentum": 0.9}], ids=str)
def test_other_optimizers_are_torchs_own(options: dict[str, Any]) -> None:
    target = "torch.optim.SGD" if "momentum" in options else "torch.optim.AdamW"
    optimizer = begun([replace(ADAMW, target=target, own=options)] * 4)
    stepped(optimizer, range(3))
    assert optimizer._fused is None
