"""LoRA-FA in packs where lanes share A: equal ranks and seeds, as in a sweep over rates."""

import pytest
import torch
from adapter_cases import MODELS, build, inputs, perturb

from adapterlab.adapters import LoRAFA
from adapterlab.packing import PackedModel, share_frozen


@pytest.mark.parametrize("streams", [[0, 0, 0], [0, 0, 1]], ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("model", MODELS)
def test_one_that_lanes_share_is_there_once(model: str, dropout: float, streams: list[int]) -> None:
    strategy = LoRAFA(rank=2, alpha=3, dropout=dropout)
    models = [strategy.apply(build(MODELS[model], dtype=torch.float64)) for _ in range(3)]
    for seed, one in enumerate(models):
        perturb(one, seed=seed)
        one.reseed(seed)
    share_frozen(models)
    pack = PackedModel(models, streams).train()
    pack.reseed([0, 1, 2], [0, 1, 2])
    layers = [module for _, module in pack.lane_modules() if "lora_B" in module.stacks]
    assert layers
    assert not any("lora_A" in module.stacks for module in layers)
    x = [inputs(6, dtype=torch.float64, seed=stream) for stream in sorted(set(streams))]
    logits = pack(torch.cat(x), rows=6)
    logits.square().sum().backward()
    for lane, one in enumerate(models):
        own = one.train()(x[streams[lane]])
        torch.testing.assert_close(logits[lane], own, rtol=1e-12, atol=1e-12)
        own.square().sum().backward()
        for name, gradient in pack.lane_gradients(lane).items():
            expected = one.trainable()[name].grad
            torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-11)
    pack.keep([0, 2])
    kept = pack.eval()(x[0], rows=6, together=True)
    torch.testing.assert_close(kept[1], models[2].eval()(x[0]), rtol=1e-12, atol=1e-12)
