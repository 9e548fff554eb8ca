"""How a run is optimized: what all optimizers share, and options that are one class's own."""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import ConfigError
from adapterlab.config.domains import NotNegative, Part, Positive, Share
from adapterlab.config.schedules import PLATEAU, SHAPES, THAT_FALL, known
from adapterlab.config.validation import STRICT

USUAL = {"sgd": "torch.optim.SGD", "adam": "torch.optim.Adam", "adamw": "torch.optim.AdamW"}
"""Classes that the name alone stands for: configurations of before had no `_target_`."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OfRole:
    """What parameters of a role are trained with; None leaves it as it is without.

    Attributes:
        lr: their peak learning rate, which the schedule scales as the others'.
        weight_decay: theirs.
    """

    lr: Positive | None = None
    weight_decay: NotNegative | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optimizer:
    """An optimizer and the schedule of its learning rate.

    Attributes:
        name: as in tables and tags.
        target: dotted path of the class, `_target_` in a configuration.
        lr: peak learning rate.
        weight_decay: of trained parameters: an L2 penalty or decoupled, as the class has it.
        schedule: of the learning rate after the warm-up; `plateau` divides it by ten when the
            validation loss has not fallen for `plateau_patience` epochs.
        plateau_patience: epochs.
        warmup: share of all steps over which the rate rises linearly from zero.
        hold: share of the steps after the warm-up at the peak, before the fall; a linear fall after
            it is also called warm-up, stable, decay (Hu et al. 2024, arXiv:2404.06395).
        floor: share of the peak that the rate falls to, and that `plateau` stops at.
        layer_decay: rate of a block over that of the block after it, see `adapters.depths`.
        clip_norm: largest norm of the gradient; None leaves it alone.
        roles: what is otherwise for the parameters of a role, see `adapters.roles`.
        own: arguments of the class; in a configuration they stand beside the others.
    """

    name: str
    target: str
    lr: Positive
    weight_decay: NotNegative
    schedule: Annotated[str, AfterValidator(known)]
    plateau_patience: Annotated[int, Field(ge=0)]
    warmup: Share
    hold: Share = 0.0
    floor: Share = 0.0
    layer_decay: Part = 1.0
    clip_norm: Positive | None
    roles: dict[str, OfRole] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)


def require_consistent(optimizer: Optimizer, where: str) -> None:
    """Refuse options that take no effect beside the others.

    Args:
        optimizer: whose options these are.
        where: its place in the configuration.

    Raises:
        ConfigError: there is such an option.
    """
    every = [name for name in SHAPES if name != PLATEAU]
    for option, takes in (
        ("warmup", every),
        ("hold", THAT_FALL),
        ("floor", [*THAT_FALL, PLATEAU]),
    ):
        value = getattr(optimizer, option)
        if value > 0 and optimizer.schedule not in takes:
            *names, last = takes
            raise ConfigError(
                f"{where}.{option}={value:g} does not go with schedule={optimizer.schedule}; "
                f"set {where}.{option}=0 or schedule={', '.join(names)} or {last}"
            )
    if optimizer.own.get("nesterov") is True and optimizer.own.get("momentum") == 0:
        raise ConfigError(f"{where}.nesterov=true needs momentum; set {where}.momentum above 0")


def gathered(node: Any) -> Any:
    """Return an optimizer's node as the values of an `Optimizer`; `spread` is the inverse."""
    if not isinstance(node, Mapping):
        return node
    shared = {one.name for one in fields(Optimizer)} - {"target", "own"}
    own = {key: value for key, value in node.items() if key not in (*shared, "_target_")}
    values = {key: value for key, value in node.items() if key in shared}
    if isinstance(roles := values.get("roles"), Mapping):
        values["roles"] = {role: of for role, of in roles.items() if _says_something(of)}
    return {**values, "target": target_of(node), "own": own}


def spread(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's values as a configuration has them."""
    node = {key: value for key, value in values.items() if key not in ("target", "own")}
    node["roles"] = {
        role: {key: value for key, value in of.items() if value is not None}
        for role, of in values["roles"].items()
    }
    return {"name": node.pop("name"), "_target_": values["target"], **node, **values["own"]}


def target_of(node: Mapping[str, Any]) -> Any:
    """Return the class that a node names, or that its name stands for; None if there is none."""
    return node.get("_target_", USUAL.get(str(node.get("name"))))


def _says_something(of_role: Any) -> bool:
    """Say whether a role is given anything of its own, or something that is wrong."""
    if not isinstance(of_role, Mapping):
        return of_role is not None
    names = {one.name for one in fields(OfRole)}
    return any(value is not None or key not in names for key, value in of_role.items())
