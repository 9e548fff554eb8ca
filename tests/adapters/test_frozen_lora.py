"""The control of drawn and frozen updates: how large they are, and what lanes share."""

import pytest
import torch
from adapter_cases import MODELS, build, inputs

from adapterlab.adapters import FrozenLoRA, merge
from adapterlab.base.errors import ConfigError
from adapterlab.packing import PackedModel, share_frozen


def test_an_update_is_as_large_as_said_and_each_seeds_own() -> None:
    first, second = (
        FrozenLoRA(rank=2, size=0.3).apply(build(MODELS["mlp"]), seed=seed) for seed in (0, 1)
    )
    assert first.count().adapter == 0
    merged, base = merge(first), build(MODELS["mlp"])
    for i in range(3):
        moved = merged.layers[i].weight - base.layers[i].weight
        share = (moved.norm() / base.layers[i].weight.norm()).item()
        assert share == pytest.approx(0.3, rel=1e-4)
        assert torch.linalg.matrix_rank(moved) == 2
        others = second.model.get_submodule(f"layers.{i}")
        assert not torch.equal(others.A, first.model.get_submodule(f"layers.{i}").A)


@pytest.mark.parametrize(("seeds", "stacked"), [((3, 3), set()), ((3, 4), {"A", "B"})])
def test_lanes_share_what_they_have_drawn_alike(seeds: tuple[int, int], stacked: set[str]) -> None:
    models = [
        FrozenLoRA(rank=2, size=0.3).apply(build(MODELS["mlp"], dtype=torch.float64), seed=seed)
        for seed in seeds
    ]
    share_frozen(models)
    pack = PackedModel(models, [0, 0])
    assert set(pack.model.get_submodule("layers.1").stacks) == stacked
    x = inputs(6, dtype=torch.float64)
    for lane, model in enumerate(models):
        expected = model.eval()(x)
        logits = pack.eval()(x, 6, together=True)[lane]
        torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)


def test_mistakes() -> None:
    for options, message in (
        ({"rank": 0}, r"adapter\.rank=0 must be 1 or more"),
        ({"size": 0.0}, r"adapter\.size=0 must be above 0"),
        ({"head": "freeze"}, r"adapter\.head=freeze does not go with FrozenLoRA; allowed: train"),
    ):
        with pytest.raises(ConfigError, match=message):
            FrozenLoRA(**options)  # type: ignore[arg-type]
