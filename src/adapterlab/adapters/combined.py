"""A combination: several strategies at once, over modules of their own or beside each other."""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Any, ClassVar, Self

import torch
from torch import nn

from adapterlab.adapters.data_driven_init import FROM_DATA, FromData
from adapterlab.adapters.hooks import ByRole
from adapterlab.adapters.strategy import (
    AdaptedModel,
    AdapterLayer,
    HeadMode,
    Strategy,
    replace_module,
)
from adapterlab.base.errors import ConfigError, allowed
from adapterlab.config.targets import options_at

_OF_TRAINING = ("extra_loss", "after_backward", "after_step", "settled")
"""Hooks that see the parameters of all parts, or speak for the whole training."""

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Combined(Strategy):
    """Fine-tune with several strategies, no parameter under two of them.

    Each part sees the base as it would alone. First values are drawn part by part, in the order of
    the names. Parts may share a module where only one thing can be meant: an adapter that only
    calls what it is on (`AdapterLayer.only_calls_base`) is around another adapter, or around what
    is trained; a bias that an adapter leaves as it is (`bias_apart`) may be trained beside it.

    Args:
        parts: strategies by name.
        dial_of: the part whose dial a budget sets; None if none is to be set.
        head: of the whole, so no part says it. `adapt` goes to the one part that has a way to.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "adapt", "freeze")

    parts: Mapping[str, Strategy]
    dial_of: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise ConfigError("adapter.parts is empty; adapter=head trains the classifier alone")
        for name, part in self.parts.items():
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"adapter.parts.{name} should be named by letters, digits and '_', the first a "
                    "letter"
                )
            if part.first_batches or any(map(part.uses, _OF_TRAINING)):
                init = part.init if isinstance(part, FromData) else None
                option = f".init={init}" if init in FROM_DATA else ""
                raise ConfigError(
                    f"adapter.parts.{name}{option} has a way of training of its own, which would "
                    "see the other parts as well; it can be an adapter by itself only"
                )
            if isinstance(part, Combined):
                raise ConfigError(
                    f"adapter.parts.{name} is a combination itself; name its parts here"
                )
            if part.head not in ("train", self.head):
                raise ConfigError(
                    f"adapter.parts.{name}.head={part.head} and adapter.head={self.head}: the head "
                    "is said once, for the whole"
                )
        if self.dial_of is not None and self.dial_of not in self._dials:
            raise ConfigError(
                f"adapter.dial_of={self.dial_of} names no part with an option that a budget sets; "
                f"{allowed(self.dial_of, self._dials)}"
            )
        if self.head == "adapt" and len(able := self._adapting_head) != 1:
            found = " and ".join(able) or "no part"
            raise ConfigError(
                f"adapter.head=adapt: {found} can adapt it, and just one part should; "
                "allowed: train, freeze"
            )

    @property
    def mergeable(self) -> bool:
        """Whether every part is."""
        return all(part.mergeable for part in self.parts.values())

    @property
    def steady(self) -> bool:
        """Whether the chosen part's dial is."""
        return self.dial_of is None or self.parts[self.dial_of].steady

    @property
    def _dials(self) -> list[str]:
        return [name for name, part in self.parts.items() if part.budget_dial() is not None]

    @property
    def _adapting_head(self) -> list[str]:
        return [name for name, part in self.parts.items() if "adapt" in part.allowed_heads]

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Apply every part to the base as it is, and then all of them together."""
        taken: dict[str, _Part] = {}
        for name in sorted(self.parts):
            part = self.parts[name]
            adapts_head = self.head == "adapt" and "adapt" in part.allowed_heads
            with _named(name, part):
                taken[name] = _Part.of(
                    replace(part, head="adapt") if adapts_head else part, model, generator
                )
            if not taken[name].modules:
                raise ConfigError(
                    f"adapter.parts.{name} trains nothing; adapter.head speaks for the head"
                )
            for other in list(taken)[:-1]:
                if (module := taken[name].meets(taken[other])) is not None:
                    raise ConfigError(
                        f"adapter.parts: {module} is in {other} and in {name}; leave it out of one "
                        "of them"
                    )
        _put_into(model, list(taken.values()))

    def came_later(self, adapted: AdaptedModel) -> set[str]:
        """Return what that is of any part."""
        return set[str]().union(*(part.came_later(adapted) for part in self.parts.values()))

    def by_role(self) -> Mapping[str, ByRole]:
        """Return what the parts say of their roles.

        Raises:
            ConfigError: two say different things of one role.
        """
        found: dict[str, tuple[str, ByRole]] = {}
        for name, part in self.parts.items():
            for role, own in part.by_role().items():
                other, said = found.setdefault(role, (name, own))
                if said != own:
                    raise ConfigError(
                        f"adapter.parts: {other} and {name} train parameters of the role {role} "
                        "at different rates or decays"
                    )
        return {role: own for role, (_, own) in found.items()}

    def budget_dial(self) -> str:
        """Return the place of the chosen part's dial.

        Raises:
            ConfigError: none is chosen.
        """
        if self.dial_of is None:
            raise ConfigError(
                "adapter.dial_of names no part, and a budget needs to know whose option it sets; "
                f"{allowed('', self._dials)}"
            )
        return f"parts.{self.dial_of}.{self.parts[self.dial_of].budget_dial()}"

    @property
    def least(self) -> int:
        """The smallest value of the chosen part's dial."""
        return 1 if self.dial_of is None else self.parts[self.dial_of].least

    def most(self, model: nn.Module) -> int:
        """Return the largest useful value of the chosen part's dial."""
        assert self.dial_of is not None
        part = self.parts[self.dial_of]
        with _named(self.dial_of, part):
            return part.most(model)

    def turned(self, value: int) -> Self:
        """Turn the chosen part's dial."""
        assert self.dial_of is not None
        part = self.parts[self.dial_of]
        with _named(self.dial_of, part):
            return replace(self, parts={**self.parts, self.dial_of: part.turned(value)})

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return what each part does, by its name in `parts`."""
        found = {}
        for name, part in self.parts.items():
            with _named(name, part):
                found[name] = part.in_one_way(model)
        return {"parts": found}

    def flat_options(self) -> dict[str, Any]:
        """Name the options of a part as a configuration does: ``parts.lora.rank``."""
        own: dict[str, Any] = {"dial_of": self.dial_of, "head": self.head}
        for name, part in sorted(self.parts.items()):
            own[f"parts.{name}"] = type(part).__name__
            for option, value in part.flat_options().items():
                if option != "head":
                    own[f"parts.{name}.{option}"] = value
        return own


@dataclass
class _Part:
    """What one part does to a model, taken out of it again.

    Attributes:
        replaced: modules that it puts in, by name.
        trained: parameters that it unfreezes, by name.
    """

    replaced: dict[str, nn.Module] = field(default_factory=dict)
    trained: dict[str, nn.Parameter] = field(default_factory=dict)

    @classmethod
    def of(cls, strategy: Strategy, model: nn.Module, generator: torch.Generator) -> "_Part":
        """Apply a strategy to a model that is frozen, and leave that as it was."""
        before = dict(model.named_modules())
        one = cls()
        try:
            strategy.adapt(model, generator)
        finally:
            for name, module in list(model.named_modules()):
                if before.get(name) is not module and not one._holds(name):
                    one.replaced[name] = module
            for name in one.replaced:
                if name in before:
                    replace_module(model, name, before[name])
                else:
                    owner, _, child = name.rpartition(".")
                    delattr(model.get_submodule(owner), child)
            one.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
            model.requires_grad_(False)
        return one

    @property
    def modules(self) -> set[str]:
        """Names of what it replaces, and of what owns parameters that it unfreezes."""
        return {*self.replaced, *(name.rpartition(".")[0] for name in self.trained)}

    def meets(self, other: "_Part") -> str | None:
        """Return a module that both parts need for themselves; None if there is none."""
        shared = {name.rpartition(".")[0] for name in self.trained.keys() & other.trained.keys()}
        for one, another in ((self, other), (other, self)):
            for name, layer in one.replaced.items():
                place, holder = another._holder(name)
                # One of two adapters on a module must be the outer one by its nature.
                ordered = place != name or not _may_be_outer(layer) or not _may_be_outer(holder)
                inside = _may_be_outer(holder) or (place == name and _may_be_outer(layer))
                if holder is not None and not (ordered and inside):
                    shared.add(name)
            for name in one.trained:
                owner, _, own = name.rpartition(".")
                place, holder = another._holder(owner)
                beside = own == "bias" and place == owner and _leaves_bias(holder)
                if holder is not None and not (beside or _may_be_outer(holder)):
                    shared.add(owner)
        return min(shared, default=None)

    def _holder(self, name: str) -> tuple[str, nn.Module | None]:
        """Return the module that is put in where another is or lies in, and its name."""
        owners = accumulate(name.split("."), lambda owner, child: f"{owner}.{child}")
        found = [owner for owner in owners if owner in self.replaced]
        return (found[-1], self.replaced[found[-1]]) if found else ("", None)

    def _holds(self, name: str) -> bool:
        """Say whether a module is, or lies in, one that is replaced."""
        return self._holder(name)[1] is not None


def _put_into(model: nn.Module, parts: Sequence[_Part]) -> None:
    """Do together what the parts did alone, of two adapters on a module one around the other."""
    names = {name for part in parts for name in part.replaced}
    for name in sorted(names, key=lambda name: (-name.count("."), name)):  # what is inside first
        layers = [part.replaced[name] for part in parts if name in part.replaced]
        inner, *outer = sorted(layers, key=_may_be_outer)
        for layer in outer:
            layer.base = inner
            inner = layer
        replace_module(model, name, inner)
    for parameter in (p for part in parts for p in part.trained.values()):
        parameter.requires_grad_(True)


def _may_be_outer(module: nn.Module | None) -> bool:
    return isinstance(module, AdapterLayer) and module.only_calls_base


def _leaves_bias(module: nn.Module | None) -> bool:
    return isinstance(module, AdapterLayer) and module.bias_apart


def _named(name: str, part: Strategy) -> AbstractContextManager[None]:
    """Let what a part complains of name its options where they are: in `parts`."""
    options = [field.name for field in fields(part) if field.name != "head"]
    return options_at(f"adapter.parts.{name}", options)
