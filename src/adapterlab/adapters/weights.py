"""Layers that take a low-rank update: those whose weight is a matrix, however they store it.

| layer | weight | as a matrix |
| --- | --- | --- |
| `nn.Linear` | [d_out, d_in] | as it is |
| `Conv1D` of transformers, in GPT-2: a linear layer | [d_in, d_out] | transposed |
| a convolution | [d_out, d_in / groups, kernel...] | [d_out, d_in / groups · kernel...] |
"""

import sys
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from adapterlab.adapters.strategy import within
from adapterlab.models.protocol import adaptable

CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d,)
"""Convolutions that take an update where they pad with zeros; a subclass may compute otherwise."""

_FUNCTIONS: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d, F.conv3d)


def is_linear(module: nn.Module) -> bool:
    """Say whether a module maps [..., d_in] to [..., d_out] by one matrix.

    The last layer of torch's own attention is left out: attention reads its weight and never calls
    it, so that nothing around it would be computed.
    """
    if isinstance(module, nn.Linear):
        return not isinstance(module, NonDynamicallyQuantizableLinear)
    return is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Say whether a module is a linear layer that stores [d_in, d_out]."""
    return isinstance(module, _transposed_type("transformers.pytorch_utils" in sys.modules))


def is_convolution(module: nn.Module) -> bool:
    """Say whether a module is a convolution that takes an update."""
    return type(module) in CONVOLUTIONS and module.padding_mode == "zeros"


def weight_layers(model: nn.Module, *, head: bool) -> dict[str, nn.Module]:
    """Return all layers of the head, or outside it, that take an update, in forward order."""
    heads = adaptable(model).head_modules
    return {
        name: module
        for name, module in model.named_modules()
        if (is_linear(module) or is_convolution(module)) and within(name, heads) == head
    }


def matrix(layer: nn.Module) -> Tensor:
    """Return a layer's weight as a matrix [d_out, d_in]; a view."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if weight.ndim > 2:
        return weight.flatten(1)
    return weight.mT if is_transposed(layer) else weight


def sizes(layer: nn.Module) -> tuple[int, int]:
    """Return inputs and outputs of a layer's matrix."""
    d_out, d_in = matrix(layer).shape
    return d_in, d_out


def with_matrix(layer: nn.Module, weight: Tensor) -> nn.Module:
    """Return a new layer of the same kind with this matrix, and a copy of the bias; frozen."""
    d_out, d_in = weight.shape
    bias: Tensor | None = layer.bias  # type: ignore[assignment]
    # By way of the meta device, for a layer's first values are drawn from the global generator.
    new: nn.Module
    if isinstance(layer, _ConvNd):
        new = type(layer)(  # type: ignore[call-arg]
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            bias=bias is not None,
            padding_mode=layer.padding_mode,
            device="meta",
            dtype=weight.dtype,
        )
    elif is_transposed(layer):
        with torch.device("meta"):
            new = type(layer)(d_out, d_in).to(weight.dtype)
    else:
        new = nn.Linear(d_in, d_out, bias=bias is not None, device="meta", dtype=weight.dtype)
    new = new.to_empty(device=weight.device)
    with torch.no_grad():
        own: Tensor = new.weight  # type: ignore[assignment]
        own.copy_(weight.mT if is_transposed(layer) else weight.view_as(own))
        if bias is not None:
            new.bias.copy_(bias)  # type: ignore[operator]
    return new.requires_grad_(False)


def convolve(layer: nn.Module, x: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """Return B A x, each place a convolution's: A strides and pads as the layer does.

    Args:
        layer: a convolution.
        x: its input, [batch, d_in, places...].
        A: [rank, d_in / groups, kernel...], the same for every group.
        B: [d_out, rank, 1...].
    """
    assert isinstance(layer, _ConvNd)
    function = _FUNCTIONS[layer.weight.ndim - 3]
    if layer.groups > 1:
        A = A.repeat(layer.groups, *(1,) * (A.ndim - 1))
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    return function(function(x, A, groups=layer.groups, **options), B, groups=layer.groups)


def base_of(layer: nn.Module, x: Tensor) -> Tensor:
    """Return a convolution's output without its bias."""
    assert isinstance(layer, _ConvNd)
    function = _FUNCTIONS[layer.weight.ndim - 3]
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    return function(x, layer.weight, groups=layer.groups, **options)


@cache
def _transposed_type(is_there: bool) -> tuple[type[nn.Module], ...]:
    """Return transformers' class where it was imported: nothing else can have made one."""
    if not is_there:
        return ()
    from transformers.pytorch_utils import Conv1D

    return (Conv1D,)
