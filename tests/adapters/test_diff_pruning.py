"""Diff pruning: gates by hand, the penalty, the cut, what is drawn, and packs through all of it."""

import copy
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, build, inputs, perturb
from torch import Tensor, nn

from adapterlab.adapters import AdaptedModel, DiffPruning, merge, plan
from adapterlab.adapters.hooks import Moment
from adapterlab.adapters.methods.diff_pruning import DiffPruningLinear, gates
from adapterlab.base.errors import ConfigError
from adapterlab.packing import PackedModel, share_frozen

DOUBLE = torch.float64


def test_gates_by_hand() -> None:
    """3 σ(logit(u) + α) - 1.5, cut to [0, 1]: at α = 0 that is 3 u - 1.5."""
    u = torch.tensor([0.0, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0], dtype=DOUBLE)
    expected = torch.tensor([0, 0, 0, 0.3, 0.9, 1, 1], dtype=DOUBLE)
    torch.testing.assert_close(gates(torch.zeros_like(u), u), expected)
    torch.testing.assert_close(gates(Tensor([-1, 0, 1, 5]), None), Tensor([0, 0, 0.69317573, 1]))


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 2.0])
def test_a_gate_is_open_as_often_as_the_penalty_counts(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(40_000, generator=generator)
    share = (gates(torch.full_like(u, alpha), u) > 0).float().mean()
    assert share == pytest.approx(torch.sigmoid(torch.tensor(alpha)).item(), abs=0.01)


def moment(adapted: AdaptedModel, step: int, total: int) -> Moment:
    frozen = {**adapted.frozen_state(saved=True)}
    return Moment(step, total, adapted.trainable(), {}, frozen)


def test_the_penalty_is_of_gates_until_they_are_cut() -> None:
    strategy = DiffPruning(penalty=0.5, cut=0.4, first_gate=0)
    adapted = strategy.apply(build(MODELS["mlp"], dtype=DOUBLE))
    sizes = [layer.weight.numel() for layer in build(MODELS["mlp"]).layers]  # type: ignore[union-attr]
    loss = strategy.extra_loss(moment(adapted, 3, 10))
    assert loss is not None
    assert loss.item() == pytest.approx(0.5 * 0.5 * (sum(sizes) + len(sizes)))
    assert strategy.extra_loss(moment(adapted, 4, 10)) is None
    assert strategy.by_role()["gate"].rate == 100
    assert strategy.by_role()["gate"].weight_decay == 0


@torch.no_grad()
def test_the_cut_keeps_the_largest_of_all_layers() -> None:
    strategy = DiffPruning(share=0.1, cut=0.5, first_gate=0.5)
    adapted = strategy.apply(build(MODELS["mlp"], dtype=DOUBLE))
    perturb(adapted)
    layers = [m for m in adapted.model.modules() if isinstance(m, DiffPruningLinear)]
    x, base = inputs(dtype=DOUBLE), build(MODELS["mlp"], dtype=DOUBLE)
    differences = [layer.adapted_matrix() - layer.base.weight for layer in layers]
    sizes = torch.cat([d.abs().flatten() for d in differences])
    count = round(0.1 * len(sizes))
    least = sizes.sort(descending=True).values[count - 1]
    strategy.after_step(moment(adapted, 4, 10))
    assert (
        strategy.outcome(adapted)
        == f"not cut: the training ended before, and has all {len(sizes)} weights"
    )
    strategy.after_step(moment(adapted, 5, 10))
    for layer, before in zip(layers, differences, strict=True):
        expected = torch.where(before.abs() >= least, before, 0)
        torch.testing.assert_close(layer.adapted_matrix() - layer.base.weight, expected)
        assert layer.train().draws()  # which are drawn on, and have no effect any more
    assert strategy.outcome(adapted) == f"{count} of {len(sizes)} weights kept"
    torch.testing.assert_close(adapted.train()(x), adapted.eval()(x))
    torch.testing.assert_close(merge(copy.deepcopy(adapted))(x), adapted(x))
    assert not torch.allclose(adapted(x), base.eval()(x))
    for layer in layers:
        layer.diff += 1
    strategy.after_step(moment(adapted, 6, 10))
    assert sum(int((layer.diff != 0).sum()) for layer in layers) == count
    said = [one.method for one in plan(adapted).layers if one.adapter]
    assert all(text.startswith("diff pruning, ") and text.endswith("%") for text in said)


def test_each_step_draws_anew_from_the_seed() -> None:
    adapted = DiffPruning(first_gate=0).apply(build(MODELS["mlp"], dtype=DOUBLE)).train()
    perturb(adapted)
    x = inputs(dtype=DOUBLE)
    adapted.reseed(3)
    first, second = adapted(x), adapted(x)
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    adapted.reseed(3)
    assert torch.equal(adapted(x), first)
    assert torch.equal(adapted(x), second)
    adapted.model.get_submodule("layers.0").weight  # noqa: B018  # which models look at
    adapted.reseed(3)
    assert torch.equal(adapted(x), first)


def test_lanes_draw_and_are_cut_as_alone() -> None:
    base = build(MODELS["mlp"], dtype=DOUBLE)
    strategies = [
        DiffPruning(first_gate=0.5, penalty=1e-3, share=0.1 + 0.1 * i, cut=(0.3, 0.6, 0.5)[i])
        for i in range(3)
    ]
    x, labels = inputs(dtype=DOUBLE), torch.arange(16) % 3

    def models() -> list[AdaptedModel]:
        made = [s.apply(copy.deepcopy(base), seed=i) for i, s in enumerate(strategies)]
        for i, model in enumerate(made):
            perturb(model, seed=i)
        return made

    alone = models()
    for seed, model in enumerate(alone):
        model.train().reseed(seed)
        optimizer = torch.optim.SGD(model.trainable().values(), lr=0.1)
        for step in range(10):
            now = moment(model, step, 10)
            loss = nn.functional.cross_entropy(model(x), labels)
            extra = model.strategy.extra_loss(now)
            (loss if extra is None else loss + extra).backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                model.strategy.after_step(moment(model, step + 1, 10))
    lanes = models()
    share_frozen(lanes)
    pack = PackedModel(lanes, [0, 0, 0]).train()
    pack.reseed([0, 0, 0], [0, 1, 2])
    optimizer = torch.optim.SGD([p for p in pack.parameters() if p.requires_grad], lr=0.1)
    for step in range(10):
        logits = pack(x, 16, together=False)
        loss = sum(nn.functional.cross_entropy(one, labels) for one in logits)
        for lane, strategy in enumerate(strategies):
            extra = strategy.extra_loss(of_lane(pack, lane, step))
            loss = loss if extra is None else loss + extra
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for lane, strategy in enumerate(strategies):
                strategy.after_step(of_lane(pack, lane, step + 1))
    for lane, model in enumerate(alone):
        for name, tensor in pack.lane_state(lane).items():
            torch.testing.assert_close(tensor, model.state()[name], rtol=1e-11, atol=1e-12)


def of_lane(pack: PackedModel, lane: int, step: int) -> Moment:
    parameters: dict[str, Any] = {}
    frozen: dict[str, Any] = {}
    for place, module, own in pack._modules_of(lane):
        for name in module.trained:
            tensor = getattr(module, name)
            parameters[f"{place}.{name}"] = module.stacks[name].part(tensor, own)
        for name, tensor in module.frozen_of(own).items():
            frozen[f"{place}.{name}"] = tensor
    return Moment(step, 10, parameters, {}, frozen)


def test_mistakes() -> None:
    for option, value, message in (
        ("share", 0, r"adapter\.share=0 must be above 0 and below 1"),
        ("cut", 1, r"adapter\.cut=1 must be above 0 and below 1"),
        ("penalty", -1, r"adapter\.penalty=-1 must be 0 or more, and finite"),
        ("first_gate", float("inf"), r"adapter\.first_gate=inf must be finite"),
        ("gate_rate", 0, r"adapter\.gate_rate=0 must be above 0 and finite"),
    ):
        with pytest.raises(ConfigError, match=message):
            DiffPruning(**{option: value})
