"""What strategies share that put a layer of their own around every targeted one."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.one_way import targets_of
from adapterlab.adapters.strategy import AdapterLayer, HeadMode, Strategy, replace_module
from adapterlab.adapters.targets import (
    ALL_LINEAR,
    Layers,
    check_layers,
    select_layers,
    unnamed_head,
)
from adapterlab.adapters.weights import is_linear, is_transposed, weight_layers
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


@dataclass(frozen=True, kw_only=True)
class OnLayers(Strategy):
    """Wrap every targeted layer.

    Args:
        head: `train` the classifier in full, `adapt` it like a layer of the body, or `freeze` it.
            Targets that name layers of the head narrow `adapt` down to these.
        targets: patterns of layer names, short names where the model has them (`query`, `ffn`),
            `all-linear` for every linear layer but the head.
        layers: the blocks whose layers are adapted: `all`, `first N`, `last N`, or a list of
            indices from 0. Anything but `all` leaves out body layers that are in no block.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "adapt", "freeze")

    targets: str | Sequence[str] = ALL_LINEAR
    layers: Layers = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self.layers)

    @abstractmethod
    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what puts this strategy's adapter around a layer, of its name.

        Args:
            model: that is not adapted yet.
            generator: for every random draw.
        """

    def targets_on(self, model: nn.Module) -> str | Sequence[str]:
        """Return the targets on this model, which is not adapted."""
        return self.targets

    def chosen(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the layers to wrap, by name in forward order."""
        return select_layers(
            model, self.targets_on(model), with_head=self.head == "adapt", layers=self.layers
        )

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Wrap every targeted layer."""
        layers, wrap = self.chosen(model), self.wrapping(model, generator)
        for name, layer in layers.items():
            replace_module(model, name, wrap(name, layer))

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return targets and blocks as the layers have them."""
        layers, head = self.chosen(model), weight_layers(model, head=True)
        body = weight_layers(model, head=False)
        targets, blocks = targets_of(model, [name for name in layers if name in body])
        of_head = sorted(head.keys() & layers.keys())
        if self.head == "adapt" and set(of_head) != unnamed_head(head):
            targets = [*([targets] if isinstance(targets, str) else targets), *of_head]
        return {"targets": targets, "layers": blocks}


def require_linear(method: str, name: str, layer: nn.Module) -> None:
    """Refuse a layer that is no linear one.

    Raises:
        ConfigError: it is a convolution.
    """
    if not is_linear(layer):
        raise ConfigError(
            f"adapter.targets: {name} is a convolution, and adapter={method} is of linear layers; "
            "for convolutions there are lora, dora and ssf"
        )
