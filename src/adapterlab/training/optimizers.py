"""Optimizers and learning-rate schedules from their options."""

import inspect
import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from adapterlab.config.schema import SGD, Adam

PLATEAU_FACTOR = 0.1

_CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(
    parameters: Iterable[nn.Parameter], options: SGD | Adam
) -> torch.optim.Optimizer:
    """Return the optimizer; weight decay applies to every parameter it is given."""
    return optimizer_class(options.name)(parameters, **arguments(options))


def moments(options: SGD | Adam) -> int:
    """Return how many numbers the optimizer keeps for each parameter."""
    return 2 if isinstance(options, Adam) else int(options.momentum > 0)


@cache
def optimizer_class(name: str) -> Callable[..., torch.optim.Optimizer]:
    """Return torch's class of an optimizer, but for what loads torch's compiler.

    torch keeps its compiler out of these methods by loading it at the first call, which takes as
    long as a small model trains; nothing here compiles an optimizer.
    """
    original = _CLASSES[name]
    plain = {
        "add_param_group": inspect.unwrap(original.add_param_group),
        "step": torch.no_grad()(inspect.unwrap(original.step)),
    }
    return type(original.__name__, (original,), plain)


def arguments(options: SGD | Adam) -> dict[str, Any]:
    """Return what one group of parameters is trained with, as torch names it."""
    common = {"lr": options.lr, "weight_decay": options.weight_decay}
    if isinstance(options, SGD):
        return common | {"momentum": options.momentum, "nesterov": options.nesterov}
    return common | {"betas": tuple(options.betas), "eps": options.eps}


def rate_at(step: int, total: int, options: SGD | Adam) -> float:
    """Return the share of the peak learning rate at a step.

    A linear rise over the first `warmup` share of the steps, then constant, or a fall to zero at
    the last step, linear or along half a cosine.

    Args:
        step: steps done so far, from 0.
        total: steps of the whole training.
        options: the schedule.
    """
    warm = math.ceil(options.warmup * total)
    if step < warm:
        return (step + 1) / warm
    progress = min((step - warm) / max(total - warm, 1), 1.0)
    match options.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            return 1 - progress
        case _:
            return 1.0


def make_schedule(optimizer: torch.optim.Optimizer, total: int, options: SGD | Adam) -> LambdaLR:
    """Return the schedule of warm-up and fall, to be stepped after every batch."""
    return LambdaLR(optimizer, lambda step: rate_at(step, total, options))


def make_plateau(optimizer: torch.optim.Optimizer, options: SGD | Adam) -> ReduceLROnPlateau | None:
    """Return the schedule that follows the validation loss, stepped after every epoch."""
    if options.schedule != "plateau":
        return None
    return ReduceLROnPlateau(optimizer, factor=PLATEAU_FACTOR, patience=options.plateau_patience)
