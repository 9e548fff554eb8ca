"""The law of packs, as it is tried out: lanes trained together, and each of them alone."""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from adapter_cases import CLASSES, MODELS, ROWS, build, inputs
from torch import Tensor, nn

from adapterlab.adapters import AdaptedModel
from adapterlab.packing import PackedModel
from adapterlab.packing.groups import within

BOUND = 1e-12
"""In float64: sums in another order differ by 1e-16 each, and a training carries that on."""


def lane_models(model: str, strategies: Sequence[str]) -> list[AdaptedModel]:
    """Return models of strategies that differ in all that lanes may differ in."""
    rows = [ROWS[strategy] for strategy in strategies]
    return [
        row.lane(row.strategy, i).apply(build(MODELS[model], dtype=torch.float64), seed=i)
        for i, row in enumerate(rows)
    ]


@cache
def batches(stream: int, step: int) -> tuple[Tensor, Tensor]:
    """Return a stream's batch: another one each step, made once for all that read it."""
    x = inputs(12, dtype=torch.float64, seed=1000 * stream + step)
    return x, (x.sum(1) * 3).long() % CLASSES


def rates(count: int) -> list[float]:
    return [0.001 * (1 + k % 3) for k in range(count)]


def alone(model: AdaptedModel, stream: int, lr: float, seed: int, steps: int) -> list[Tensor]:
    """Train a model as it is trained alone; return its losses."""
    optimizer = torch.optim.AdamW(model.trainable().values(), lr=lr, weight_decay=0.1, fused=True)
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
    pieces = [
        [
            (nn.Parameter(parameter.data[rows]), parameter, rows)
            for _, module in pack.lane_modules()
            for own in within(module.lanes, [lane])
            for name in module.trained
            for parameter in [getattr(module, name)]
            for rows in [module.stacks[name].rows(slice(own, own + 1))]
        ]
        for lane in range(pack.count)
    ]
    optimizer = torch.optim.AdamW(
        [
            {"params": [own for own, _, _ in of_lane], "lr": lr}
            for of_lane, lr in zip(pieces, rates(pack.count), strict=True)
        ],
        weight_decay=0.1,
        fused=True,  # a fifth of the time, here and alone
    )
    pack.train()
    pack.reseed(seeds, [seed + 1 for seed in seeds])
    parameters = [*pack.parameters()]
    losses = []
    for step in range(steps):
        drawn = [batches(stream, step) for stream in dict.fromkeys(streams)]
        x, labels = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        logits = pack(x, rows=12)
        read = labels.view(-1, 12)[pack.lanes.streams]
        loss = F.cross_entropy(logits.flatten(0, 1), read.flatten(), reduction="none")
        loss = loss.view(pack.count, -1).mean(1)
        for parameter in parameters:
            parameter.grad = None
        loss.sum().backward()
        for own, parameter, rows in (piece for of_lane in pieces for piece in of_lane):
            own.grad = parameter.grad[rows]
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def assert_lanes_train_as_alone(
    pack: PackedModel, fresh: Sequence[AdaptedModel], streams: list[int], steps: int
) -> None:
    """Train a pack, and models like those that it was made of alone; compare losses and results."""
    seeds = [10 * k for k in range(pack.count)]
    losses = together(pack, streams, seeds, steps)
    for k, own in enumerate(fresh):
        expected = torch.stack(alone(own, streams[k], rates(pack.count)[k], seeds[k], steps))
        assert expected[0] != expected[-1]
        torch.testing.assert_close(losses[:, k], expected, rtol=BOUND, atol=BOUND)
        state = pack.lane_state(k)
        assert state.keys() == own.state().keys()
        for name, parameter in own.trainable().items():
            torch.testing.assert_close(state[name], parameter.data, rtol=1e-9, atol=1e-9)
    assert_lanes_stay_what_they_are(pack, fresh)


def assert_lanes_stay_what_they_are(pack: PackedModel, trained: Sequence[AdaptedModel]) -> None:
    """Let lanes go, as early stopping does, and compare those that stay, drop by drop."""
    left = [lane for lane in range(pack.count) if lane != (0 if pack.count == 2 else 1)]
    pack.keep(left)
    x, _ = batches(9, 0)
    logits = pack.train()(x, rows=12, together=True)
    for lane, old in enumerate(left):
        torch.testing.assert_close(logits[lane], trained[old].train()(x), rtol=1e-9, atol=1e-9)
