"""The law of packs at the level of modules: a lane computes what its model computes alone."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from adapter_cases import CASES, CLASSES, MODELS, build, inputs
from torch import Tensor, nn

from adapterlab.adapters import AdaptedModel, LoRA, Strategy
from adapterlab.packing import PackedModel, share_frozen

STEPS = 300
BOUND = 1e-12
"""Differences in float64: sums in another order differ by 1e-16 each, and training carries them on."""


def variants(strategy: Strategy, count: int) -> list[Strategy]:
    """Return strategies that differ in all that lanes may differ in."""
    if not isinstance(strategy, LoRA):
        return [strategy] * count
    ranks, dropouts = [2, 1, 4, 3], [strategy.dropout, 0.0, 0.4]
    return [
        replace(
            strategy,
            rank=ranks[i % 4],
            alpha=strategy.alpha + i,
            dropout=dropouts[i % 3] if strategy.dropout else 0.0,
            scaling=("alpha_over_rank", "alpha_over_sqrt_rank", "alpha")[i % 3],
            init=("kaiming", "gaussian", "both_normal")[i % 3],
        )
        for i in range(count)
    ]


def lane_models(model: str, strategy: str, count: int, **options: object) -> list[AdaptedModel]:
    dtype = torch.float64
    return [
        variant.apply(build(MODELS[model], dtype=dtype), seed=i)
        for i, variant in enumerate(variants(CASES[strategy], count))
    ]


def batches(stream: int, step: int) -> tuple[Tensor, Tensor]:
    """Return a stream's batch: another one each step."""
    x = inputs(12, dtype=torch.float64, seed=1000 * stream + step)
    return x, (x.sum(1) * 3).long() % CLASSES


def rates(count: int) -> list[float]:
    return [0.001 * (1 + k % 3) for k in range(count)]


def alone(model: AdaptedModel, stream: int, lr: float, seed: int, steps: int) -> list[Tensor]:
    """Train a model as it is trained alone; return its losses."""
    optimizer = torch.optim.AdamW(model.trainable().values(), lr=lr, weight_decay=0.1)
    model.train()
    torch.manual_seed(seed)
    model.reseed(seed + 1)
    losses = []
    for step in range(steps):
        x, labels = batches(stream, step)
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


def together(pack: PackedModel, streams: list[int], seeds: list[int], steps: int) -> Tensor:
    """Train a pack; return the losses, [steps, K]."""
    lrs = rates(pack.count)
    pieces = [
        {"params": [nn.Parameter(p.data[k]) for p in pack.parameters() if p.requires_grad]}
        for k in range(pack.count)
    ]
    optimizer = torch.optim.AdamW(
        [piece | {"lr": lr} for piece, lr in zip(pieces, lrs, strict=True)], weight_decay=0.1
    )
    pack.train()
    pack.reseed(seeds, [seed + 1 for seed in seeds])
    distinct = sorted(set(streams))
    losses = []
    for step in range(steps):
        drawn = [batches(stream, step) for stream in distinct]
        x, labels = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        logits = pack(x, rows=12)
        of_lanes = labels.view(-1, 12)[pack.lanes.streams]
        loss = F.cross_entropy(logits.flatten(0, 1), of_lanes.flatten(), reduction="none")
        loss = loss.view(pack.count, -1).mean(1)
        for parameter in pack.parameters():
            parameter.grad = None
        loss.sum().backward()
        for k, piece in enumerate(pieces):
            trained = (p for p in pack.parameters() if p.requires_grad)
            for own, parameter in zip(piece["params"], trained, strict=True):
                own.grad = parameter.grad[k]
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize("streams", [[0, 0], [0, 1], [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 1]])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", CASES)
def test_a_lane_trains_as_its_model_does_alone(
    strategy: str, model: str, streams: list[int]
) -> None:
    count, steps = len(streams), STEPS if len(streams) == 9 else 20
    seeds = [10 * k for k in range(count)]
    models = lane_models(model, strategy, count)
    share_frozen(models)
    pack = PackedModel(models, streams)
    losses = together(pack, streams, seeds, steps)
    for k, own in enumerate(lane_models(model, strategy, count)):
        expected = torch.stack(alone(own, streams[k], rates(count)[k], seeds[k], steps))
        assert expected[0] != expected[-1]
        torch.testing.assert_close(losses[:, k], expected, rtol=BOUND, atol=BOUND)
        state = pack.lane_state(k)
        assert state.keys() == own.trainable().keys()
        for name, parameter in own.trainable().items():
            torch.testing.assert_close(state[name], parameter.data, rtol=1e-9, atol=1e-9)
