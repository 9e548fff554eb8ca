"""Optimizers and learning-rate schedules from their options."""

import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import chain
from typing import Annotated, Any, NamedTuple, cast

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from adapterlab.adapters.depths import below_the_head
from adapterlab.adapters.roles import OF_ANY_MODEL, roles_of
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.errors import ConfigError, allowed, first_line
from adapterlab.config.domains import Positive, Share
from adapterlab.config.optimizers import Optimizer
from adapterlab.config.schedules import PLATEAU, SHAPES
from adapterlab.config.targets import prepared
from adapterlab.config.trust import target as trusted_target

PLATEAU_FACTOR = 0.1

NO_OPTIONS = ("foreach", "fused", "capturable", "differentiable", "maximize")
"""Arguments of torch's optimizers that say how they compute, or that they climb."""

_KEPT_FROM_COMPILING = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""Methods of an optimizer, beside its step, that torch keeps its compiler out of."""

_Betas = Annotated[list[Share], Field(min_length=2, max_length=2), AfterValidator(tuple)]

_NARROWER = {"momentum": Share, "eps": Positive, "betas": _Betas}
"""Domains of options that torch writes as plain numbers, where a class has them as such."""


class Setting(NamedTuple):
    """What a parameter is trained with."""

    lr: float
    weight_decay: float


def settings_of(adapted: AdaptedModel, options: Optimizer) -> dict[str, Setting]:
    """Return what each trained parameter is trained with, by its name in the model.

    A narrower role wins over a wider one, and what the run says over what the method does: a
    method's factor multiplies the rate that a wider role was given. The decay by layers multiplies
    what comes out.
    """
    of_method = adapted.strategy.by_role()
    below = below_the_head(adapted) if options.layer_decay < 1 else {}
    settings = {}
    for name, roles in roles_of(adapted).items():
        lr, decay = options.lr, options.weight_decay
        for role in roles:
            if role in of_method:
                lr *= of_method[role].rate
                own_decay = of_method[role].weight_decay
                decay = decay if own_decay is None else own_decay
            if role in options.roles:
                said = options.roles[role]
                lr = lr if said.lr is None else said.lr
                decay = decay if said.weight_decay is None else said.weight_decay
        settings[name] = Setting(lr * options.layer_decay ** below.get(name, 0), decay)
    return settings


def make_optimizer(
    parameters: Mapping[str, nn.Parameter],
    options: Optimizer,
    settings: Mapping[str, Setting] | None = None,
    *,
    allow: Sequence[str] = (),
) -> torch.optim.Optimizer:
    """Return the optimizer, with a group of parameters for each setting.

    Args:
        parameters: what is trained, by name.
        options: of the optimizer.
        settings: of each parameter; None for the run's own.
        allow: see `trust.target`.
    """
    usual = Setting(options.lr, options.weight_decay)
    groups = grouped(parameters, settings or dict.fromkeys(parameters, usual))
    make = optimizer_class(options, allow)
    return make(
        [
            {"params": [parameters[name] for name in names], **arguments(options, one, allow)}
            for one, names in groups.items()
        ],
        **arguments(options, usual, allow),  # which the class looks at, unlike those of groups
    )


def grouped(names: Iterable[str], settings: Mapping[str, Setting]) -> dict[Setting, list[str]]:
    """Return parameters by what they are trained with, in the order of an optimizer's groups."""
    groups: dict[Setting, list[str]] = {}
    for name in names:
        groups.setdefault(settings[name], []).append(name)
    return groups


def require_optimizer(
    options: Optimizer, where: str, adapted: AdaptedModel | None, allow: Sequence[str] = ()
) -> None:
    """Refuse an optimizer that cannot train what a strategy trains.

    Args:
        options: of the optimizer.
        where: its place in the configuration.
        adapted: the model, on the meta device; None where it is not known.
        allow: see `trust.target`.

    Raises:
        ConfigError: there is no such class, it is none of an optimizer, an option of it is wrong,
            no parameter has a role, or the class does not take these parameters.
    """
    make = _bound(options, where, allow)
    named = f"{where}._target_={options.target}"
    decays = {
        f"{where}.weight_decay": options.weight_decay,
        **{f"{where}.roles.{r}.weight_decay": of.weight_decay for r, of in options.roles.items()},
    }
    for option, decay in decays.items():
        if decay and not _takes(make.func, "weight_decay"):
            raise ConfigError(f"{option}={decay:g}: {options.target} has none; 0 is allowed")
    if adapted is not None:
        require_roles(options, where, chain.from_iterable(roles_of(adapted).values()))
    try:
        moments(options, allow)
        if adapted is not None:
            make_optimizer(adapted.trainable(), options, settings_of(adapted, options), allow=allow)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{named} cannot train this: {first_line(error)}") from None


def require_roles(options: Optimizer, where: str, roles: Iterable[str]) -> None:
    """Refuse roles that no trained parameter has.

    Args:
        options: of the optimizer.
        where: its place in the configuration.
        roles: that trained parameters have.

    Raises:
        ConfigError: the options name another one, but for a decay of those `OF_ANY_MODEL`.
    """
    known = list(dict.fromkeys(roles))
    for role, of_role in options.roles.items():
        if role not in known and not (role in OF_ANY_MODEL and of_role.lr is None):
            raise ConfigError(
                f"{where}.roles.{role}: no parameter that is trained has this role; "
                f"{allowed(role, known)}"
            )


def moments(options: Optimizer, allow: Sequence[str] = ()) -> int:
    """Return how many numbers the optimizer keeps for each parameter, rounded down."""
    return _moments(options.target, json.dumps(options.own, sort_keys=True), tuple(allow))


@cache
def _moments(target: str, own: str, allow: tuple[str, ...]) -> int:
    bound = _bound_to(target, own, "optimizer", allow)
    weight = nn.Parameter(torch.ones(4, 4))
    optimizer = without_compiler(bound.func)([weight], lr=1e-3, **bound.keywords)

    def loss() -> float:
        weight.grad = torch.ones_like(weight)
        return 1.0

    loss()
    optimizer.step(loss)
    kept = (
        value.numel()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.ndim
    )
    return sum(kept) // weight.numel()


def optimizer_class(
    options: Optimizer, allow: Sequence[str] = ()
) -> Callable[..., torch.optim.Optimizer]:
    """Return the class of an optimizer."""
    return without_compiler(_bound(options, "optimizer", allow).func)


def arguments(options: Optimizer, setting: Setting, allow: Sequence[str] = ()) -> dict[str, Any]:
    """Return what one group of parameters is trained with, as its class names it."""
    bound = _bound(options, "optimizer", allow)
    shared = setting._asdict()
    if not _takes(bound.func, "weight_decay"):
        del shared["weight_decay"]
    return shared | bound.keywords


def takes_fused(options: Optimizer, allow: Sequence[str] = ()) -> bool:
    """Say whether an optimizer's class has a step that is one kernel."""
    return _takes(_bound(options, "optimizer", allow).func, "fused")


def rate_at(step: int, total: int, options: Optimizer) -> float:
    """Return the share of the peak learning rate at a step.

    A linear rise over the first `warmup` share of the steps, the peak for the `hold` share of the
    others, then the schedule's shape, down to the `floor`.

    Args:
        step: steps done so far, from 0.
        total: steps of the whole training.
        options: the schedule.
    """
    warm = math.ceil(options.warmup * total)
    if step < warm:
        return (step + 1) / warm
    held = math.ceil(options.hold * (total - warm))
    progress = min(max(step - warm - held, 0) / max(total - warm - held, 1), 1.0)
    return options.floor + (1 - options.floor) * SHAPES[options.schedule](progress)


def make_schedule(optimizer: torch.optim.Optimizer, total: int, options: Optimizer) -> LambdaLR:
    """Return the schedule of warm-up and fall, to be stepped after every batch."""
    return LambdaLR(optimizer, lambda step: rate_at(step, total, options))


def make_plateau(optimizer: torch.optim.Optimizer, options: Optimizer) -> ReduceLROnPlateau | None:
    """Return the schedule that follows the validation loss, stepped after every epoch."""
    if options.schedule != PLATEAU:
        return None
    return ReduceLROnPlateau(
        optimizer,
        factor=PLATEAU_FACTOR,
        patience=options.plateau_patience,
        min_lr=[options.floor * group["lr"] for group in optimizer.param_groups],
        eps=0.0,  # torch's own leaves small rates, as of layers far below the head, where they are
    )


def _bound(
    options: Optimizer, where: str = "optimizer", allow: Sequence[str] = ()
) -> partial[torch.optim.Optimizer]:
    """Return the class of an optimizer with its own options, checked.

    Raises:
        ConfigError: there is no such class, or an option is wrong.
    """
    own = json.dumps(options.own, sort_keys=True)
    return _bound_to(options.target, own, where, tuple(allow))


@cache
def _bound_to(
    target: str, own: str, where: str, allow: tuple[str, ...]
) -> partial[torch.optim.Optimizer]:
    node = {"_target_": target, **json.loads(own)}
    make = trusted_target(target, where, allow)
    usual = {name: one.default for name, one in inspect.signature(make).parameters.items()}
    bound = prepared(
        node,
        where,
        supplied=("params", "lr"),
        perhaps=("weight_decay", *NO_OPTIONS),
        allow=allow,
        # Adafactor's eps, for one, is two numbers.
        narrower={
            name: domain
            for name, domain in _NARROWER.items()
            if isinstance(usual.get(name), tuple) == (name == "betas")
        },
    )
    return cast(partial[torch.optim.Optimizer], bound)


@cache
def _takes(make: Callable[..., Any], argument: str) -> bool:
    return argument in inspect.signature(make).parameters


@cache
def without_compiler(original: Callable[..., Any]) -> Callable[..., torch.optim.Optimizer]:
    """Return torch's class of an optimizer, but for what loads torch's compiler.

    torch keeps its compiler out of these methods by loading it at the first call, which takes as
    long as a small model trains; nothing here compiles an optimizer. What is not torch's is left
    as it is.
    """
    if not (inspect.isclass(original) and original.__module__.startswith("torch.")):
        return original
    torchs = cast("type[torch.optim.Optimizer]", original)
    plain = {name: inspect.unwrap(getattr(torchs, name)) for name in _KEPT_FROM_COMPILING}
    step = torch.no_grad()(inspect.unwrap(torchs.step))
    return type(torchs.__name__, (torchs,), plain | {"step": step})
