"""SSF: what layers give is scaled and shifted."""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn

from adapterlab.adapters.norms import affine_norms, is_norm
from adapterlab.adapters.strategy import AdapterLayer
from adapterlab.adapters.targeted import OnLayers, Wrapping
from adapterlab.adapters.targets import select_blocks
from adapterlab.adapters.weights import is_transposed, matrix, with_matrix
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError, allowed
from adapterlab.models.protocol import adaptable, counted_layers

Init = Literal["identity", "normal"]
"""First values: a scale of 1 and a shift of 0, or the paper's, N(1, 0.02²) and N(0, 0.02²)."""

_STD = 0.02


class SSFLayer(AdapterLayer):
    """SSF (Lian et al. 2022, https://arxiv.org/abs/2210.08823): y = γ ∘ f(x) + β, f frozen.

    A layer without a bias is scaled only: there is no place that a shift could be merged into.

    Shapes: f(x) and y [..., d], or [batch, d, places...] of a convolution or a batch norm; γ and
    β [d], or those of a norm's weight.

    Args:
        base: a linear layer, a convolution or a norm with a weight; frozen here.
        init: see `Init`.
        generator: CPU generator for `init="normal"`; torch's default one when None.
    """

    shift: Tensor | None

    def __init__(
        self,
        base: nn.Module,
        *,
        init: Init = "identity",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        weight = cast(Tensor, base.weight)
        self.of_layer = not is_norm(base)
        batch_norm = isinstance(base, nn.modules.batchnorm._BatchNorm)
        self.channels_first = batch_norm or (self.of_layer and weight.ndim > 2)
        shape = (len(matrix(base)),) if self.of_layer else weight.shape
        scale, shift = torch.ones(shape), torch.zeros(shape)
        if init == "normal":
            scale += _STD * torch.randn(shape, generator=generator)
            shift += _STD * torch.randn(shape, generator=generator)
        has_bias = getattr(base, "bias", None) is not None
        self.scale = nn.Parameter(scale.to(weight))
        self.register_parameter("shift", nn.Parameter(shift.to(weight)) if has_bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """Map as the base does."""
        y: Tensor = self.base(x)
        scale = of_channels(self.scale, y) if self.channels_first else self.scale
        y = scale * y
        if self.shift is None:
            return y
        return y + (of_channels(self.shift, y) if self.channels_first else self.shift)

    @property
    def weight(self) -> Tensor:
        """The adapted weight, for models that look at their layer's, at its type say."""
        own = cast(Tensor, self.base.weight)
        if not self.of_layer or is_transposed(self.base):
            return self.scale * own
        return self.scale.view(-1, *(1,) * (own.ndim - 1)) * own

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with both in its weight and bias."""
        new: nn.Module
        if self.of_layer:
            new = with_matrix(self.base, self.scale[:, None] * matrix(self.base))
        else:
            new = copy.deepcopy(self.base)
            cast(Tensor, new.weight).mul_(self.scale)
        if self.shift is not None:
            cast(Tensor, new.bias).mul_(self.scale).add_(self.shift)
        return new

    def describe(self) -> str:
        """Say what is done to the outputs."""
        return "scaled" if self.shift is None else "scaled and shifted"


@dataclass(frozen=True, kw_only=True)
class SSF(OnLayers):
    """Scale and shift what frozen layers and norms give (Lian et al. 2022, arXiv:2210.08823).

    Args:
        norms: put one after every norm of the body as well, as the paper does; those of the chosen
            blocks where `layers` names some.
        init: `identity`, or `normal` as in the paper, which is not the identity at the start.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    convolutions: ClassVar[bool] = True

    norms: bool = True
    init: Init = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init not in get_args(Init):
            raise ConfigError(f"adapter.init={self.init}; {allowed(self.init, get_args(Init))}")

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what scales and shifts a layer's outputs."""
        return lambda name, layer: SSFLayer(layer, init=self.init, generator=generator)

    def chosen(self, model: nn.Module) -> dict[str, nn.Module]:
        """Add the norms to the targets."""
        layers = super().chosen(model)
        if not self.norms:
            return layers
        norms: dict[str, Any] = affine_norms(model)
        if self.layers != "all":
            blocks = select_blocks(self.layers, adaptable(model).blocks, counted_layers(model))
            norms = {name: norm for name, norm in norms.items() if within(name, blocks)}
        both = layers | norms
        return {name: both[name] for name, _ in model.named_modules() if name in both}


def of_channels(vector: Tensor, y: Tensor) -> Tensor:
    """View [d] as it is applied to [batch, d, places...]."""
    return vector.view(-1, *(1,) * (y.ndim - 2))
