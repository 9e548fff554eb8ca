"""What a fine-tuning strategy is, and what comes out when one is applied to a model.

A model takes part by naming its head and its blocks, see `adapterlab.models.protocol`. Nothing else
about it is assumed, so that the same strategies adapt an MLP and a transformer.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.hashes import hash_tensors
from adapterlab.adapters.hooks import Hooks
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.weights import further_names
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError, allowed
from adapterlab.models.by_length import by_length
from adapterlab.models.frozen import staying_in_evaluation
from adapterlab.models.protocol import adaptable

HeadMode = Literal["train", "adapt", "freeze"]
"""What happens to the task's classifier: trained in full, adapted like a body layer, or frozen."""


class AdapterLayer(nn.Module, ABC):
    """A module that wraps the module it adapts and is complete after `__init__`.

    Its own parameters are trained. What else it computes with is frozen state: see `keep_frozen`.

    Attributes:
        base: what is adapted, any module; frozen, and shared by the lanes of a pack.
        mergeable: whether a plain module computes the same, which `merged` then returns.
        frozen: names of the frozen state, and whether checkpoints hold it.
        roles: a role of its own for parameters by their name here, see `adapters.roles`.
        only_calls_base: whether the base may itself be adapted or trained: it is called, no more.
        bias_apart: whether the base's bias may be trained beside: it is added as it is.
        covers_base: whether the base's weights count as reached by it.
        places: how many it takes from the longest text.
    """

    base: nn.Module
    only_calls_base: ClassVar[bool] = False
    bias_apart: ClassVar[bool] = False
    covers_base: ClassVar[bool] = True
    places = 0
    mergeable: ClassVar[bool] = True
    frozen: Mapping[str, bool] = MappingProxyType({})
    roles: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def keep_frozen(self, name: str, tensor: Tensor, *, saved: bool = False) -> None:
        """Keep a tensor that training never changes as an attribute `name`; call in `__init__`.

        It is a buffer, neither counted nor trained. Make it from the generator (it is then each
        seed's own), from a seed among the options or from the base, so that applying the strategy
        makes it again. Checkpoints then hold its fingerprint, and are refused over another one; a
        pack holds it once where lanes have the same.

        Args:
            name: of the attribute.
            tensor: on the meta device where the base is.
            saved: checkpoints hold it, for it cannot be made again.
        """
        own = tensor.detach()
        self.register_buffer(name, own.clone() if saved else own, persistent=saved)
        self.frozen = {**self.frozen, name: saved}

    def merged(self) -> nn.Module:
        """Return a plain module that computes the same function without the adapter.

        Raises:
            ConfigError: there is none.
        """
        raise ConfigError(f"{type(self).__name__} cannot be merged into what it adapts")

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words what the adapter is, for the plan: ``LoRA rank 8, scale 2``."""


@dataclass(frozen=True)
class ParameterCount:
    """Parameters by what they are for.

    Attributes:
        adapter: trained parameters outside the head, whether added or unfrozen.
        head: trained parameters inside the task's classifier.
        total: all parameters of the adapted model, frozen ones included.
    """

    adapter: int
    head: int
    total: int

    @property
    def trainable(self) -> int:
        """Adapter and head parameters together."""
        return self.adapter + self.head


class AdaptedModel(nn.Module):
    """A model under a strategy: frozen and trainable parameters, told apart by role.

    Attributes:
        model: the model itself, with adapter layers in place; input and output as before.
        strategy: the strategy that was applied.
        base_hash: SHA-256 of the base weights that the parameters belong to; empty without any.
        by_length: whether texts of each length are computed apart, see `models.by_length`.
    """

    by_length = False

    def __init__(self, model: nn.Module, strategy: "Strategy", base_hash: str) -> None:
        super().__init__()
        self.model = model
        self.strategy = strategy
        self.base_hash = base_hash
        self.head_modules = adaptable(model).head_modules
        self.train(model.training)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the logits, [batch, classes]."""
        if self.by_length:
            return by_length(self.model, *args)
        return cast(Tensor, self.model(*args, **kwargs))

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what is frozen stays in evaluation mode, see `models.frozen`."""
        super().train(mode)
        if mode:
            for _, module in self.frozen_modules():
                module.training = False  # not `.eval()`, which would reach adapters inside
        return self

    def frozen_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the model's own modules that stay in evaluation mode, by name in `model`."""
        return staying_in_evaluation(self.model, AdapterLayer)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that the strategy trains, by their name in `model`."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def state(self) -> dict[str, Tensor]:
        """Return what training can change: trainable parameters, and persistent buffers beside.

        Those of frozen modules, such as the statistics of a frozen batch norm, do not change. What
        has several names, being tied, has its first here.
        """
        left_out = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        left_out |= further_names(self.model)
        for name, module in self.frozen_modules():
            left_out |= {f"{name}.{own}".lstrip(".") for own, _ in module.named_buffers("", False)}
        return {name: t for name, t in self.model.state_dict().items() if name not in left_out}

    def frozen_state(self, *, saved: bool) -> dict[str, Tensor]:
        """Return what adapter layers keep frozen, by name in `model`.

        Args:
            saved: what checkpoints hold, or else what they leave out.
        """
        return {
            f"{name}.{own}": getattr(module, own)
            for name, module in self.model.named_modules()
            if isinstance(module, AdapterLayer)
            for own, is_saved in module.frozen.items()
            if is_saved == saved
        }

    def in_head(self, name: str) -> bool:
        """Say whether the parameter or module of this name belongs to the head."""
        return within(name, self.head_modules)

    def count(self) -> ParameterCount:
        """Count adapter, head and total parameters."""
        head = sum(p.numel() for name, p in self.trainable().items() if self.in_head(name))
        adapter = sum(p.numel() for name, p in self.trainable().items() if not self.in_head(name))
        return ParameterCount(adapter, head, sum(p.numel() for p in self.model.parameters()))

    def reseed(self, seed: int) -> None:
        """Start every adapter dropout's stream anew, each layer from a seed of its own."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.model.modules():
            if isinstance(module, SeededDropout):
                module.reseed(int(torch.randint(2**62, (), generator=generator)))


@dataclass(frozen=True, kw_only=True)
class Strategy(Hooks, ABC):
    """A way to fine-tune: which parameters are trained, and what is added to train.

    Subclasses are frozen dataclasses whose fields are the options in `conf/adapter/NAME.yaml`;
    they say in `adapt` what happens to the body, and inherit what happens to the head.

    Args:
        head: `train` the classifier in full, `adapt` it like the layers of the body (strategies
            that have a way to), or `freeze` it.

    Raises:
        ConfigError: an option is outside its domain.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "freeze")
    dial: ClassVar[str | None] = None
    """The option, a whole number, of which more trains more; None where there is none."""

    head: HeadMode = "train"

    @property
    def mergeable(self) -> bool:
        """Whether the adapted model can become an ordinary one that computes the same."""
        return True

    @property
    def steady(self) -> bool:
        """Whether more of the dial never trains less; where it may, a budget tries all of it."""
        return True

    def __post_init__(self) -> None:
        if self.head not in self.allowed_heads:
            raise ConfigError(
                f"adapter.head={self.head} does not go with {type(self).__name__}; "
                f"{allowed(self.head, self.allowed_heads)}"
            )

    @abstractmethod
    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Unfreeze or inject in `model`, whose parameters are all frozen on entry.

        Args:
            model: changed in place; its head is left alone unless `head` is `adapt`.
            generator: CPU generator for every random draw.

        Raises:
            ConfigError: a target matches no layer, or the model has no such layer.
        """

    @property
    def least(self) -> int:
        """The smallest value of the dial."""
        return 1

    def most(self, model: nn.Module) -> int:
        """Return the largest useful value of the dial on a model that is not adapted.

        Raises:
            ConfigError: the strategy does not fit this model.
        """
        raise NotImplementedError(f"{type(self).__name__} has no dial")

    def budget_dial(self) -> str | None:
        """Return the place of the option that a budget sets, below `adapter`; None if none does.

        Raises:
            ConfigError: it is not said which of several.
        """
        return self.dial

    def turned(self, value: int) -> Self:
        """Return the strategy with its dial at `value`, and otherwise as strong as it is.

        Raises:
            ConfigError: another option says what the dial would.
        """
        changed: dict[str, Any] = {str(self.dial): value}
        return replace(self, **changed)

    def apply(self, model: nn.Module, *, seed: int = 0) -> AdaptedModel:
        """Adapt `model` in place and return it with its parameters told apart by role.

        Args:
            model: names its head and blocks, see `adapterlab.models.protocol`.
            seed: of the first values and of the adapter dropout's masks.

        Raises:
            ConfigError: the strategy does not fit this model; it lists the layers that exist.
        """
        heads = adaptable(model).head_modules
        if any(isinstance(module, AdapterLayer) for module in model.modules()):
            raise ConfigError("the model is already adapted; merge it first")
        # A head that is trained in full is saved whole, so its first values need not match.
        base_hash = hash_weights(model, without=heads if self.head == "train" else ())
        model.requires_grad_(False)
        self.adapt(model, torch.Generator().manual_seed(seed))
        if self.head == "train":
            for name in heads:
                model.get_submodule(name).requires_grad_(True)
        adapted = AdaptedModel(model, self, base_hash)
        if not adapted.trainable():
            raise ConfigError(f"{type(self).__name__} with head={self.head} trains no parameter")
        adapted.reseed(seed)
        return adapted

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return options that name layers, the same for all ways of naming the same ones.

        Args:
            model: that is not adapted; it may be on the meta device.

        Raises:
            ConfigError: the strategy does not fit this model.
        """
        return {}

    def options(self) -> dict[str, Any]:
        """Return the strategy's arguments."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def flat_options(self) -> dict[str, Any]:
        """Return plain values by their place below `adapter`, for checkpoints."""
        return self.options()


def body_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters outside the head, with their names."""
    heads = adaptable(model).head_modules
    return ((name, p) for name, p in model.named_parameters() if not within(name, heads))


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` where the submodule `name` is, and under its other names where it has some."""
    before = model.get_submodule(name)
    places = [
        (parent, child)
        for parent in model.modules()
        for child, one in parent._modules.items()
        if one is before
    ]
    for parent, child in places:
        setattr(parent, child, module)


def hash_weights(model: nn.Module, *, without: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 of a model's names, shapes and weights; empty on the meta device.

    Args:
        model: its persistent state is hashed, in the order of the names.
        without: modules left out.
    """
    kept = {name: t for name, t in model.state_dict().items() if not within(name, without)}
    return "" if any(tensor.is_meta for tensor in kept.values()) else hash_tensors(kept)
