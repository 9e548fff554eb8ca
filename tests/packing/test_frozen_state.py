"""Frozen state of methods in packs: held once where lanes share it, and a lane's own elsewhere."""

import pytest
import torch
from adapter_cases import MODELS, build, inputs
from torch import nn
from trial_strategies import FirstUpdate

from adapterlab.adapters import (
    AdaptedModel,
    Bottleneck,
    BottleneckLinear,
    LoRA,
    Strategy,
    VeRA,
    VeRALinear,
)
from adapterlab.adapters.strategy import replace_module
from adapterlab.packing import CannotPackError, PackedModel, share_frozen, signature
from adapterlab.packing.layers import COUNTERPARTS


def packed(*strategies: Strategy, seeds: tuple[int, ...]) -> tuple[PackedModel, list[AdaptedModel]]:
    models = [
        strategy.apply(build(MODELS["mlp"], dtype=torch.float64), seed=seed)
        for strategy, seed in zip(strategies, seeds, strict=True)
    ]
    share_frozen(models)
    return PackedModel(models, [0] * len(models)), models


def test_equal_projections_are_there_once() -> None:
    pack, models = packed(*(VeRA(rank=4) for _ in range(3)), seeds=(0, 1, 2))
    first = models[0].model.get_submodule("layers.1").vera_A
    assert models[2].model.get_submodule("layers.1").vera_A is first
    lane = pack.model.get_submodule("layers.1")
    assert lane.vera_A is first
    assert set(lane.stacks) == {"vera_lambda_d", "vera_lambda_b"}


def test_other_projections_are_each_lanes_own_and_stay_with_those_that_stay() -> None:
    pack, models = packed(*(VeRA(rank=4, projection_seed=i) for i in (0, 0, 5)), seeds=(0, 1, 2))
    lane = pack.model.get_submodule("layers.1")
    assert lane.vera_A.shape == (3, 4, 8)
    pack.keep([0, 2])
    for k, model in enumerate((models[0], models[2])):
        assert torch.equal(lane.vera_A[k], model.model.get_submodule("layers.1").vera_A)
    x = inputs(12, dtype=torch.float64)
    logits = pack.eval()(x, rows=12, together=True)
    for k, model in enumerate((models[0], models[2])):
        torch.testing.assert_close(logits[k], model.eval()(x), rtol=1e-12, atol=1e-12)


def test_projections_of_several_ranks_are_the_beginnings_of_one() -> None:
    pack, models = packed(*(VeRA(rank=rank) for rank in (2, 6, 3)), seeds=(0, 0, 0))
    lane = pack.model.get_submodule("layers.1")
    largest = models[1].model.get_submodule("layers.1").vera_A
    assert lane.vera_A.data_ptr() == largest.data_ptr()
    assert lane.vera_B.shape == (3, 6, 6)  # which the rank's own bound scales
    pack.keep([0, 2])
    for k, model in enumerate((models[0], models[2])):
        frozen = model.frozen_state(saved=False)
        for name, tensor in pack.lane_frozen(k).items():
            assert torch.equal(tensor, frozen[name])
    x = inputs(12, dtype=torch.float64)
    logits = pack.eval()(x, rows=12, together=True)
    for k, model in enumerate((models[0], models[2])):
        torch.testing.assert_close(logits[k], model.eval()(x), rtol=1e-12, atol=1e-12)


def test_what_checkpoints_hold_comes_back_to_its_own_lane() -> None:
    strategy = FirstUpdate(rank=2, saved=True)
    pack, models = packed(strategy, strategy, seeds=(3, 3))  # equal, and yet not shared
    assert pack.lane_state(1).keys() == models[1].state().keys()
    _, others = packed(strategy, strategy, seeds=(4, 5))
    for lane, other in enumerate(others):
        pack.load_lane(lane, other.state())
    for lane, other in enumerate(others):
        for name, tensor in other.state().items():
            assert torch.equal(pack.lane_state(lane)[name], tensor), name


def test_projections_are_no_sign_of_another_pack() -> None:
    with torch.device("meta"):
        model = MODELS["mlp"]()
    assert signature(VeRA(rank=9, projection_seed=7).apply(model)) == signature(
        VeRA(rank=4).apply(build(MODELS["mlp"]))
    )


def test_a_layer_that_trains_modules_inside_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nested(VeRALinear):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__(base, torch.ones(2, 8), torch.ones(6, 2))
            self.more = nn.Linear(2, 2)

    monkeypatch.setitem(COUNTERPARTS, Nested, COUNTERPARTS[VeRALinear])
    adapted = LoRA(rank=1, targets="layers.0").apply(build(MODELS["mlp"]))
    replace_module(adapted.model, "layers.1", Nested(adapted.model.get_submodule("layers.1")))
    with pytest.raises(CannotPackError, match=r"Nested trains more\.weight, a parameter of a mod"):
        signature(adapted)


def test_a_layer_without_a_counterpart_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(COUNTERPARTS, BottleneckLinear)
    with pytest.raises(CannotPackError, match="BottleneckLinear has no batched counterpart"):
        signature(Bottleneck().apply(build(MODELS["mlp"])))


@pytest.mark.parametrize("saved", [False, True])
def test_hooks_see_a_lane_as_its_model_alone(saved: bool) -> None:
    strategies = (FirstUpdate(rank=3, saved=saved), FirstUpdate(rank=1, saved=saved))
    pack, models = packed(*strategies, seeds=(0, 1))
    pack(inputs(4, dtype=torch.float64), rows=4, together=True).square().sum().backward()
    for lane, model in enumerate(models):
        model(inputs(4, dtype=torch.float64)).square().sum().backward()
        frozen = {**model.frozen_state(saved=True), **model.frozen_state(saved=False)}
        gradients = {name: p.grad for name, p in model.trainable().items()}
        for seen, expected in (
            (pack.lane_parameters(lane), model.trainable()),
            (pack.lane_gradients(lane), gradients),
            (pack.lane_frozen(lane), frozen),
        ):
            assert seen.keys() == expected.keys()
            for name, tensor in expected.items():
                torch.testing.assert_close(seen[name], tensor, rtol=1e-12, atol=1e-12)
    for tensor in (*pack.lane_frozen(1).values(), *pack.lane_gradients(1).values()):
        tensor.zero_()
    for seen in (pack.lane_frozen(0), pack.lane_gradients(0)):
        assert all(tensor.any() for tensor in seen.values())
    for seen in (pack.lane_frozen(1), pack.lane_gradients(1)):
        assert not any(tensor.any() for tensor in seen.values())
