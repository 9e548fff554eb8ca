"""Trying out whether shares of a batch make together what the whole batch makes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.errors import ConfigError
from adapterlab.data.batches import AnyBatches, on_device
from adapterlab.data.targets import task_of
from adapterlab.packing.trial import take_rows
from adapterlab.training.devices.shares import SharedBatch, SharedDraws, shared

_ROUNDINGS = 1000


def require_shares(
    adapted: AdaptedModel, data: AnyBatches, devices: int, device: torch.device
) -> bool:
    """Refuse several devices where rows of a batch are not computed each for itself.

    Whether they are is not taken from a model's name: logits and gradients of a few rows are
    compared, with all dropout. Batch norm that is trained mixes them; some libraries draw
    in a way that cannot be told apart.

    Args:
        adapted: the model; it is left as it is, on the device.
        data: of the run.
        devices: how many.
        device: where to try it.

    Returns:
        Whether something is trained that a batch does not reach.

    Raises:
        ConfigError: they are not.
    """
    adapted.to(device)
    before = {name: tensor.clone() for name, tensor in adapted.state().items()}
    training = adapted.training
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cuda):
            batch = next(iter(data.training_batches(0, device)))
            for rows in {min(len(batch.labels), 2 * devices + 1), min(len(batch.labels), devices)}:
                few = batch._replace(
                    inputs=take_rows(on_device(batch.inputs, device), slice(rows)),
                    labels=batch.labels[:rows].to(device),
                )
                unused = _compare(adapted.train(), few, devices)
    finally:
        adapted.zero_grad()
        adapted.train(training)
        with torch.no_grad():
            for name, tensor in adapted.state().items():
                tensor.copy_(before[name])
    return unused


def _compare(adapted: AdaptedModel, batch: Any, devices: int) -> bool:
    draws = SharedDraws()
    whole = _seeded(adapted, batch.inputs)
    of_whole = _gradients(adapted, whole, batch.labels)
    unused = any(gradient is None for gradient in of_whole)
    expected = [whole.detach(), *_there(adapted, of_whole)]
    logits: list[Tensor] = []
    gradients: list[list[Tensor]] = []
    with draws.of_adapters(adapted):
        for rank in range(devices):
            part: SharedBatch = shared(batch, rank, devices)
            with draws.of(part.share):
                own = _seeded(adapted, part.inputs)
            if part.share.counts:
                logits.append(own.detach())
                gradients.append(_there(adapted, _gradients(adapted, own, part.labels)))
    if adapted.by_length and draws.drew:
        raise ConfigError(
            f"hardware.devices={devices}: the model computes texts of each length apart, and has "
            "dropout, whose draws cannot be shared out; allowed: 1"
        )
    sums = [torch.stack(of_all).sum(0) for of_all in zip(*gradients, strict=True)]
    largest = max(float(tensor.abs().max()) for tensor in expected[1:])
    for what, one, other in zip(
        ["logits", *adapted.trainable()], expected, [torch.cat(logits), *sums], strict=True
    ):
        scale = max(float(one.abs().max()), 0.0 if what == "logits" else largest / 100)
        gap = float((one - other).abs().max())
        if one.isfinite().all() and not gap <= _ROUNDINGS * torch.finfo(one.dtype).eps * scale:
            raise ConfigError(
                f"hardware.devices={devices}: rows of a batch come out otherwise in shares (by "
                f"{gap:.0e}, {what}), as with a batch norm that is trained; allowed: 1"
            )
    return unused


def _seeded(adapted: AdaptedModel, inputs: Any) -> Tensor:
    torch.manual_seed(0)
    adapted.reseed(0)
    with torch.enable_grad():
        logits: Tensor = adapted(inputs)
    return logits


def _gradients(adapted: AdaptedModel, logits: Tensor, labels: Tensor) -> list[Tensor | None]:
    if task_of(labels) == "single_label":
        loss = F.cross_entropy(logits, labels, reduction="sum")
    else:
        loss = (logits - 1).square().sum()
    trained = list(adapted.trainable().values())
    return list(torch.autograd.grad(loss, trained, allow_unused=True))


def _there(adapted: AdaptedModel, gradients: Sequence[Tensor | None]) -> list[Tensor]:
    trained = adapted.trainable().values()
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(trained, gradients, strict=True)
    ]
