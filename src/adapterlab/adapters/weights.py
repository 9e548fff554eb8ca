"""Layers that take a low-rank update: those whose weight is a matrix, however they store it.

| layer | weight | as a matrix |
| --- | --- | --- |
| `nn.Linear` | [d_out, d_in] | as it is |
| `Conv1D` of transformers, in GPT-2: a linear layer | [d_in, d_out] | transposed |
| a convolution | [d_out, d_in / groups, kernel...] | [d_out, d_in / groups · kernel...] |
"""

import copy
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from adapterlab.base.dotted_names import within
from adapterlab.models.protocol import adaptable

CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d)
"""Convolutions that take an update where they pad with zeros; a subclass may compute otherwise."""

_PIXELS = 3  # of a trial's input, beyond the kernel

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
    """Say whether a module is a convolution that takes an update.

    A subclass is one where its output is linear in its weight, which is tried out: timm's pads in
    a way of its own, others standardise their weight, which leaves no place for an update.
    """
    if not isinstance(module, CONVOLUTIONS) or module.padding_mode != "zeros":
        return False
    return type(module) in CONVOLUTIONS or _is_linear_in_weight(cast(_ConvNd, module))


def is_bias(parameter: str) -> bool:
    """Say whether a parameter is a bias, by its name.

    Attention has some that are no layer's: torch's `in_proj_bias`, DeBERTa's `q_bias`.
    """
    own = parameter.rpartition(".")[2]
    return own == "bias" or own.startswith("bias_") or own.endswith("_bias")


def further_names(model: nn.Module) -> set[str]:
    """Return names of parameters and buffers but for the first of each, where they are tied."""
    found = set[str]()
    for tensors_of in (model.named_parameters, model.named_buffers):
        found |= dict(tensors_of(remove_duplicate=False)).keys() - dict(tensors_of()).keys()
    return found


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
        kernel = nn.Parameter(weight.detach().clone().view_as(layer.weight))
        return copy.deepcopy(layer, {id(layer.weight): kernel}).requires_grad_(False)
    if is_transposed(layer):
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

    With groups, B A is formed instead, a kernel of the layer's shape: cheaper there by far.

    Args:
        layer: a convolution.
        x: its input, [batch, d_in, places...].
        A: [rank, d_in / groups, kernel...], the same for every group.
        B: [d_out, rank, 1...].
    """
    assert isinstance(layer, _ConvNd)
    if layer.groups > 1:
        return by_kernel(layer, x, (B.flatten(1) @ A.flatten(1)).view_as(layer.weight))
    return _FUNCTIONS[A.ndim - 3](by_kernel(layer, x, A), B)


def base_of(layer: nn.Module, x: Tensor) -> Tensor:
    """Return a convolution's output without its bias."""
    assert isinstance(layer, _ConvNd)
    return by_kernel(layer, x, layer.weight)


def by_kernel(layer: _ConvNd, x: Tensor, kernel: Tensor, groups: int | None = None) -> Tensor:
    """Return what a convolution makes of x with another kernel and no bias.

    Args:
        layer: a convolution; a subclass pads as it does.
        x: its input.
        kernel: of any number of outputs.
        groups: of the kernel; the layer's own when None.
    """
    groups = layer.groups if groups is None else groups
    if type(layer) in CONVOLUTIONS:
        options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        return _FUNCTIONS[kernel.ndim - 3](x, kernel, groups=groups, **options)
    # A module of the same class and options over other tensors; it costs nothing like a copy.
    other: Any = object.__new__(type(layer))
    vars(other).update(vars(layer) | {"groups": groups})
    vars(other)["_parameters"] = {"weight": kernel, "bias": None}
    return cast(Tensor, type(layer).forward(other, x))


@torch.no_grad()
def is_plain_at_single_places(layer: nn.Module) -> bool:
    """Say whether a convolution's class, with a kernel of one place, is a product by channels.

    PEFT makes B of the base's own class; one that pads such a kernel as well is another function.
    """
    kind: Any = type(layer)
    if kind in CONVOLUTIONS:
        return True
    with torch.random.fork_rng(devices=[]):
        single = kind(1, 1, 1, bias=False)
    x = torch.ones(1, 1, *(_PIXELS,) * (single.weight.ndim - 2))
    y: Tensor = single(x)
    return y.shape == x.shape and torch.allclose(y, x * single.weight)


@torch.no_grad()
def _is_linear_in_weight(layer: _ConvNd) -> bool:
    """Try out whether a convolution's output is linear in its weight, whatever its weights are."""
    places = [
        size * step + _PIXELS for size, step in zip(layer.kernel_size, layer.dilation, strict=True)
    ]
    options: dict[str, Any] = {
        "dtype": torch.float64,
        "device": "cpu",
        "generator": torch.Generator().manual_seed(0),
    }
    first, second = torch.randn(2, *layer.weight.shape, **options)
    x = torch.randn(1, layer.in_channels, *places, **options)
    try:
        one, other, both = (
            by_kernel(layer, x, kernel) for kernel in (first, second, first + second)
        )
    except (AttributeError, TypeError, RuntimeError):  # it computes with more than a kernel
        return False
    return torch.allclose(one + other, both)


@cache
def _transposed_type(is_there: bool) -> tuple[type[nn.Module], ...]:
    """Return transformers' class where it was imported: nothing else can have made one."""
    if not is_there:
        return ()
    from transformers.pytorch_utils import Conv1D

    return (Conv1D,)
