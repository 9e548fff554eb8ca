"""Strategies that put a layer of their own around each layer that targets name."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.canonical_targets import places_of
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdapterLayer, HeadMode, Strategy, replace_module
from adapterlab.adapters.targets import (
    ALL_LINEAR,
    FOR_CONVOLUTIONS,
    Layers,
    check_layers,
    select_layers,
)
from adapterlab.adapters.weights import is_linear, is_transposed, with_matrix
from adapterlab.base.errors import ConfigError

Wrapping = Callable[[str, nn.Module], AdapterLayer]


class MatrixAdapter(AdapterLayer):
    """An adapter on a layer whose adapted weight is a matrix again."""

    @abstractmethod
    def adapted_matrix(self) -> Tensor:
        """Return the weight that the layer computes with, [d_out, d_in]; gradients flow."""

    @property
    def weight(self) -> Tensor:
        """The adapted weight, for models that look at their layer's, at its type say."""
        adapted, own = self.adapted_matrix(), cast(Tensor, self.base.weight)
        return adapted.mT if is_transposed(self.base) else adapted.view_as(own)


class LinearAdapter(MatrixAdapter):
    """A linear layer whose weight is adapted by what can be added to it.

    Args:
        base: `nn.Linear` or transformers' Conv1D; frozen here.
        dropout: probability of dropping an input of the update.

    Attributes:
        singular: whether it is made of its weight's singular vectors (`adapters.decomposition`).
        of_base: names of its frozen state that the base alone determines, so that lanes share it.
    """

    singular: ClassVar[bool] = False
    of_base: ClassVar[tuple[str, ...]] = ()

    def __init__(self, base: nn.Module, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.dropout = SeededDropout(dropout)

    @property
    @abstractmethod
    def inner(self) -> int:
        """How many numbers a row becomes on its way through the update."""

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with the update added to its weight."""
        return with_matrix(self.base, self.adapted_matrix())


class WholeWeight(MatrixAdapter):
    """A linear layer that forms its whole adapted weight in each step, and computes with it.

    Args:
        base: `nn.Linear` or transformers' Conv1D; frozen here.

    Attributes:
        matrices: how many matrices of the weight's size there are at once in a step of training,
            that weight and its gradient included.
    """

    matrices: ClassVar[int] = 2

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        return F.linear(x, self.adapted_matrix(), cast(Tensor | None, self.base.bias))

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with its adapted weight."""
        return with_matrix(self.base, self.adapted_matrix())


@dataclass(frozen=True, kw_only=True)
class Targeted(Strategy):
    """A strategy over layers that are named as LoRA's are.

    Args:
        head: `train` the classifier in full, `adapt` it like the others, or `freeze` it. Targets
            that name layers of the head narrow `adapt` down to these.
        targets: patterns of layer names, short names where the model has them (`query`, `ffn`),
            `all-linear` for every linear layer but the head.
        layers: the blocks whose layers are adapted: `all`, `first N`, `last N`, or a list of
            indices from 0. Anything but `all` leaves out body layers that are in no block.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "adapt", "freeze")
    convolutions: ClassVar[bool] = False
    """Whether it adapts them as well."""

    targets: str | Sequence[str] = ALL_LINEAR
    layers: Layers = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self.layers)

    def targets_on(self, model: nn.Module) -> str | Sequence[str]:
        """Return the targets on this model, which is not adapted."""
        return self.targets

    def chosen(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the layers to adapt, by name in forward order.

        Raises:
            ConfigError: a target matches no layer.
        """
        return select_layers(
            model,
            self.targets_on(model),
            with_head=self.head == "adapt",
            layers=self.layers,
            convolutions=self.convolutions,
        )

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return targets and blocks as the layers have them."""
        return {**places_of(model, self.chosen(model), with_head=self.head == "adapt")}


@dataclass(frozen=True, kw_only=True)
class OverLinear(Targeted):
    """One that is of linear layers only."""

    def chosen(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the layers to adapt, by name in forward order.

        Raises:
            ConfigError: a target matches no layer, or one that is not linear.
        """
        layers = super().chosen(model)
        for name, layer in layers.items():
            if not is_linear(layer):
                raise ConfigError(
                    f"adapter.targets: {name} is a convolution, and {type(self).__name__} adapts "
                    f"linear layers; allowed: {ALL_LINEAR}, or patterns of linear layers; "
                    f"{FOR_CONVOLUTIONS}"
                )
        return layers


@dataclass(frozen=True, kw_only=True)
class OnLayers(Targeted):
    """One that wraps each layer by itself, of its name alone."""

    @abstractmethod
    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what puts this strategy's adapter around a layer, of its name.

        Args:
            model: that is not adapted yet.
            generator: for every random draw.
        """

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Wrap every targeted layer."""
        layers, wrap = self.chosen(model), self.wrapping(model, generator)
        for name, layer in layers.items():
            replace_module(model, name, wrap(name, layer))


def require_linear(method: str, name: str, layer: nn.Module) -> None:
    """Refuse a layer that is no linear one.

    Raises:
        ConfigError: it is a convolution.
    """
    if not is_linear(layer):
        raise ConfigError(
            f"adapter.targets: {name} is a convolution, and adapter={method} is of linear layers; "
            f"{FOR_CONVOLUTIONS}"
        )
