"""Strategies that put one layer of their own around each linear layer that targets name."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from adapterlab.adapters.one_way import targets_of
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdapterLayer, HeadMode, Strategy
from adapterlab.adapters.targets import (
    ALL_LINEAR,
    Layers,
    check_layers,
    select_layers,
    unnamed_head,
)
from adapterlab.adapters.weights import is_linear, is_transposed, weight_layers, with_matrix
from adapterlab.base.errors import ConfigError


class LinearAdapter(AdapterLayer):
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

    @abstractmethod
    def adapted_matrix(self) -> Tensor:
        """Return the weight that the layer computes with, [d_out, d_in]; gradients flow."""

    @property
    @abstractmethod
    def inner(self) -> int:
        """How many numbers a row becomes on its way through the update."""

    @property
    def weight(self) -> Tensor:
        """The adapted weight, for models that look at their layer's, at its type say."""
        adapted = self.adapted_matrix()
        return adapted.mT if is_transposed(self.base) else adapted

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with the update added to its weight."""
        return with_matrix(self.base, self.adapted_matrix())


@dataclass(frozen=True, kw_only=True)
class Targeted(Strategy):
    """A strategy over linear layers, named as LoRA's are.

    Args:
        head: `train` the classifier in full, `adapt` it like the others, or `freeze` it. Targets
            that name layers of the head narrow `adapt` down to these.
        targets: patterns of layer names, short names where the model has them (`query`, `ffn`),
            or `all-linear` for every linear layer but the head.
        layers: the blocks whose layers are adapted: `all`, `first N`, `last N`, or a list of
            indices from 0. Anything but `all` leaves out body layers that are in no block.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "adapt", "freeze")

    targets: str | Sequence[str] = ALL_LINEAR
    layers: Layers = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self.layers)

    def linear_layers(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the layers to adapt, by name in forward order.

        Raises:
            ConfigError: a target matches no layer, or one that is not linear.
        """
        layers = select_layers(
            model, self.targets, with_head=self.head == "adapt", layers=self.layers
        )
        for name, layer in layers.items():
            if not is_linear(layer):
                raise ConfigError(
                    f"adapter.targets: {name} is a convolution, and {type(self).__name__} adapts "
                    f"linear layers; allowed: {ALL_LINEAR}, or patterns of linear layers"
                )
        return layers

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return targets and blocks as the layers have them."""
        layers, head = self.linear_layers(model), weight_layers(model, head=True)
        targets, blocks = targets_of(model, [name for name in layers if name not in head])
        of_head = sorted(head.keys() & layers.keys())
        if self.head == "adapt" and set(of_head) != unnamed_head(head):
            targets = [*([targets] if isinstance(targets, str) else targets), *of_head]
        return {"targets": targets, "layers": blocks}
