"""How a run is optimized: what all optimizers share, and options that are one class's own."""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from adapterlab.config.domains import NotNegative, Positive, Share
from adapterlab.config.schedules import known
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
    clip_norm: Positive | None
    roles: dict[str, OfRole] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)


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
