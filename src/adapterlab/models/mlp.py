"""The multilayer perceptron that the image experiments adapt."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.models.protocol import ClassifierModel

Activation = Literal["relu", "gelu", "silu", "tanh"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLP(ClassifierModel):
    """A multilayer perceptron over flattened inputs: `layers.0`, `layers.1`, ..., then `head`.

    Shapes: x [batch, *input_shape] -> logits [batch, classes].

    Args:
        input_shape: shape of one example, (channels, height, width) for images.
        num_classes: outputs of the head.
        widths: outputs of each hidden layer; none gives a linear classifier.
        activation: nonlinearity after each hidden layer.
        dropout: probability of dropping a hidden activation.
        generator: CPU generator that the weights are drawn from; torch's default one when None.

    Raises:
        ConfigError: a width below 1, or dropout outside [0, 1).

    Attributes:
        is_chain: each layer takes only what the one before it gives, so lanes of a pack may share
            rows up to any of them.
        frozen_dropout: dropout stands between layers, so it acts on what comes after frozen ones.
    """

    is_chain = True
    frozen_dropout = True

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        *,
        widths: Sequence[int] = (128,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if any(width < 1 for width in widths):
            raise ConfigError(f"model.widths={list(widths)}: every width must be 1 or more")
        if activation not in ACTIVATIONS:
            raise ConfigError(
                f"model.activation={activation}; {allowed(activation, get_args(Activation))}"
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"model.dropout={dropout:g} must be at least 0 and below 1")
        sizes = [math.prod(input_shape), *widths]
        self.layers = nn.ModuleList(nn.Linear(d_in, d_out) for d_in, d_out in pairwise(sizes))
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sizes[-1], num_classes)
        self.head_modules = ("head",)
        self.blocks = tuple(f"layers.{i}" for i in range(len(widths)))
        reset_linear_layers(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = x.flatten(1)
        for layer in self.layers:
            x = self.dropout(self.activation(layer(x)))
        return cast(Tensor, self.head(x))


@torch.no_grad()
def reset_linear_layers(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the weights of every linear layer in `module` as torch does, from one generator.

    Both weight and bias are uniform in ±1/√d_in, torch's default, which takes no generator.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.is_meta:
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in layer.parameters():
                drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                parameter.copy_(drawn)
