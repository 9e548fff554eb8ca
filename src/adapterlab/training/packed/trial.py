"""Whether an optimizer trains lanes of a pack as it trains each alone: tried on a few rows."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters import AdaptedModel, LoRA
from adapterlab.base.errors import first_line
from adapterlab.config.optimizers import Optimizer
from adapterlab.models import MLP
from adapterlab.packing import CannotPackError, PackedModel, share_frozen
from adapterlab.training.optimizers import make_optimizer, settings_of
from adapterlab.training.packed.optimizers import LaneOptimizer

_STEPS = 4
_KEPT = (1, 2)
"""Lanes that go on after half of the steps: what is remembered of a lane must be its own."""

_CLOSE = 1e-9
"""Of float64, relative to the largest number of a parameter."""


def why_not_packed(options: Optimizer, allow: Sequence[str] = ()) -> str | None:
    """Say why an optimizer cannot train the lanes of a pack; None where it can.

    Three small lanes of different ranks are trained for a few steps, alone and together; one of
    them leaves in between. What is compared is the optimizer's alone: its rates, decays and
    schedules are each lane's own in any case.

    Args:
        options: of the optimizer, which is one that a run can be trained with.
        allow: see `trust.target`.
    """
    own = json.dumps(options.own, sort_keys=True)
    return _found(options.name, options.target, own, options.weight_decay > 0, tuple(allow))


def require_packable(options: Optimizer, allow: Sequence[str] = ()) -> None:
    """Refuse an optimizer that cannot train the lanes of a pack.

    Raises:
        CannotPackError: it cannot.
    """
    if (why := why_not_packed(options, allow)) is not None:
        raise CannotPackError(why)


@cache
def _found(name: str, target: str, own: str, decays: bool, allow: tuple[str, ...]) -> str | None:
    first = Optimizer(
        name=name,
        target=target,
        lr=0.01,
        weight_decay=0.1 if decays else 0.0,
        schedule="constant",
        plateau_patience=0,
        warmup=0.0,
        clip_norm=None,
        own=json.loads(own),
    )
    options = [first, first, replace(first, lr=0.02)]
    try:
        with torch.random.fork_rng(devices=[]):
            lanes = _together(options, allow)
            for lane, trained in zip(_KEPT, lanes, strict=True):
                alone = _alone(lane, options[lane], allow)
                for parameter, expected in alone.items():
                    if gap := _gap(expected, trained[parameter]):
                        return f"optimizer={name}: lanes would change each other (by {gap:.0e})"
    except Exception as error:  # whatever it was, alone it may well train
        return f"optimizer={name} takes no step for several runs at once: {first_line(error)}"
    return None


def _models(count: int) -> list[AdaptedModel]:
    def base() -> MLP:
        return MLP((1, 2, 2), 3, widths=(5,), generator=torch.Generator().manual_seed(0)).double()

    return [
        LoRA(rank=lane + 1, init="both_normal", init_std=0.5).apply(base(), seed=lane)
        for lane in range(count)
    ]


def _batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(6, 1, 2, 2, dtype=torch.float64, generator=generator)
    return images, torch.randint(3, (6,), generator=generator)


def _alone(lane: int, options: Optimizer, allow: Sequence[str]) -> dict[str, Tensor]:
    model = _models(lane + 1)[lane]
    optimizer = make_optimizer(model.trainable(), options, settings_of(model, options), allow=allow)
    for step in range(_STEPS):
        images, labels = _batch(step)
        for parameter in model.parameters():  # `zero_grad` would load torch's compiler
            parameter.grad = None
        loss: Tensor = F.cross_entropy(model(images), labels)
        torch.autograd.backward(loss)
        optimizer.step()
    return {name: parameter.detach() for name, parameter in model.trainable().items()}


def _together(options: Sequence[Optimizer], allow: Sequence[str]) -> list[dict[str, Tensor]]:
    models = _models(len(options))
    share_frozen(models)
    pack = PackedModel(models, [0] * len(models))
    settings = [settings_of(model, one) for model, one in zip(models, options, strict=True)]
    optimizer = LaneOptimizer(pack, options, settings, _STEPS, allow=allow)
    for step in range(_STEPS):
        if step == _STEPS // 2:
            optimizer.keep(_KEPT)
        _backward(pack, *_batch(step))
        optimizer.step()
    return [pack.lane_state(lane) for lane in range(pack.count)]


def _backward(pack: PackedModel, images: Tensor, labels: Tensor) -> None:
    logits = pack(images, len(labels), together=True)
    flat = F.cross_entropy(logits.flatten(0, 1), labels.repeat(pack.count), reduction="none")
    torch.autograd.backward(flat.view(pack.count, -1).mean(1).sum())


def _gap(expected: Tensor, actual: Tensor) -> float | None:
    """Return by how much numbers differ, relative to the largest; None for rounding."""
    if torch.allclose(expected, actual, rtol=0, atol=0, equal_nan=True):
        return None
    gap = float((expected - actual).abs().max() / expected.abs().max())
    return None if gap <= _CLOSE else gap
