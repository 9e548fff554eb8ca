"""Batched counterparts of convolutions, of their updates, and of batch norms with fixed figures.

Where lanes have rows of their own, their channels lie side by side, ``[B, K·d, ...]``, and one
convolution with as many groups computes all of them.
"""

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.methods.dora import DoRAConv, norm_sq_of_rows, root
from adapterlab.adapters.methods.lora import LoRAConv
from adapterlab.adapters.weights import base_of, by_kernel, matrix
from adapterlab.packing.dropout import LaneDropout
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneAdapter, LaneModule


def side_by_side(lanes: Lanes, x: Tensor) -> Tensor:
    """Return each lane's rows, ``[K·B, d, ...]`` or shared, as channels: ``[B, K·d, ...]``."""
    rows = lanes.split(lanes.expand(x))
    return rows.transpose(0, 1).flatten(1, 2)


def one_below_the_other(lanes: Lanes, y: Tensor) -> Tensor:
    """Return channels ``[B, K·d, ...]`` as each lane's rows, ``[K·B, d, ...]``."""
    return _by_lane(lanes, y).transpose(0, 1).flatten(0, 1)


class LaneConv(LaneModule):
    """K convolutions, of which weight, bias, or both are trained.

    Shapes: x ``[K·B, d_in, ...]`` or shared, y ``[K·B, d_out, ...]``.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, modules: Sequence[Any], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self._layers = tuple(modules[:1])  # for its options; its tensors are not looked at

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each lane's rows by its own kernel."""
        (layer,), lanes = self._layers, self.lanes
        if "weight" in self.trained:
            groups = lanes.count * layer.groups
            kernels = self.weight.flatten(0, 1)
            y = by_kernel(layer, side_by_side(lanes, x), kernels, groups)
            y = one_below_the_other(lanes, y)
        else:
            y = lanes.expand(by_kernel(layer, x, self.weight))
        return y if self.bias is None else _shifted(lanes, y, self.of_lanes("bias"))


class LaneBatchNorm(LaneModule):
    """K batch norms in evaluation mode, of which the weight or the bias is trained.

    One of which both are keeps statistics of its own batches, which lanes would share.

    Shapes: x ``[K·B, d, ...]`` or shared, y ``[K·B, d, ...]``.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, modules: Sequence[Any], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.eps = modules[0].eps
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, getattr(modules[0], name), persistent=False)

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Add what a norm is computed with."""
        return *super().signature(module), module.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the shared statistics; scale and shift by each lane's parameters."""
        mean, var = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        y = self.lanes.expand(F.batch_norm(x, mean, var, eps=self.eps))
        if self.weight is not None:
            weight = self.of_lanes("weight")
            y = (self.lanes.split(y) * _of_channels(weight, y)).flatten(0, 1)
        return y if self.bias is None else _shifted(self.lanes, y, self.of_lanes("bias"))


class LaneLoRAConv(LaneAdapter):
    """K LoRA updates of one frozen convolution (see `LoRAConv`), of any ranks.

    Shapes: x ``[K·B, d_in, ...]`` or shared, A ``[K, R, d_in / groups, kernel...]`` and B
    ``[K, d_out, R, 1...]`` for the largest rank R, y ``[K·B, d_out, ...]``.
    """

    base: Any
    lora_A: Tensor  # noqa: N815  # the names of LoRAConv, and of its checkpoints
    lora_B: Tensor  # noqa: N815
    scale: Tensor

    def __init__(self, modules: Sequence[LoRAConv], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = modules[0].base
        self.dropout = LaneDropout([copy.deepcopy(module.dropout) for module in modules], lanes)
        scales = self.lora_B.new_tensor([module.scale for module in modules])
        self.per_lane("scale", _of_dims(scales, self.lora_B.ndim))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A, ``[K, R, d_in / groups, kernel...]``, and s · B, ``[K, d_out, R, 1...]``.

        Of twice the rank where the first update is subtracted, as those of `LoRALinear` are.
        """
        A, B = self.lora_A, self.scale * self.lora_B
        if "first_A" in self.frozen:
            first_A, first_B = self.of_lanes("first_A"), -self.scale * self.of_lanes("first_B")
            A = torch.cat((A, first_A.expand(self.lanes.count, *first_A.shape[1:])), 1)
            B = torch.cat((B, first_B), 2)
        return A, B

    def update(self, x: Tensor) -> Tensor:
        """Return s · B A dropout(x), ``[K·B, d_out, ...]``."""
        lanes, base, (A, B) = self.lanes, self.base, self.factors()
        x = self.dropout(x)
        if base.groups > 1:
            kernels = (B.flatten(2) @ A.flatten(2)).view(-1, *base.weight.shape[1:])
            y = by_kernel(base, side_by_side(lanes, x), kernels, lanes.count * base.groups)
            return one_below_the_other(lanes, y)
        A = A.flatten(0, 1)
        if lanes.is_shared(x) and lanes.stream_count == 1:
            down = by_kernel(base, x, A)
        else:
            down = by_kernel(base, side_by_side(lanes, x), A, lanes.count)
        # Each lane's places as columns of one product with its B.
        places = down.shape[2:]
        up = B.flatten(2) @ _by_lane(lanes, down).flatten(3)
        return up.reshape(*up.shape[:3], *places).transpose(0, 1).flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        return self.lanes.expand(self.base(x)) + self.update(x)


class LaneDoRAConv(LaneLoRAConv):
    """K DoRA updates of one frozen convolution (see `DoRAConv`), of any ranks.

    Shapes: as LaneLoRAConv; m ``[K, 1, d_out, 1...]``.
    """

    magnitude: Tensor
    base_norm_sq: Tensor

    def __init__(self, modules: Sequence[DoRAConv], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.register_buffer("base_norm_sq", modules[0].base_norm_sq, persistent=False)

    @torch.no_grad()
    def weight_norm(self) -> Tensor:
        """Return ‖W + s · B A‖ of each lane's outputs, ``[K, d_out]``."""
        A, B = (factor.flatten(2) for factor in self.factors())
        return root(norm_sq_of_rows(matrix(self.base), A, B, self.base_norm_sq))

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        lanes = self.lanes
        rescale = self.magnitude / self.weight_norm().view_as(self.magnitude)
        y = lanes.split(lanes.expand(base_of(self.base, x)) + self.update(x))
        y = (rescale * y).flatten(0, 1)
        bias: Tensor | None = self.base.bias
        return y if bias is None else _shifted(lanes, y, bias[None])


def _by_lane(lanes: Lanes, y: Tensor) -> Tensor:
    """View channels ``[B, K·d, ...]`` as ``[B, K, d, ...]``."""
    return y.reshape(len(y), lanes.count, -1, *y.shape[2:])


def _shifted(lanes: Lanes, y: Tensor, bias: Tensor) -> Tensor:
    """Add biases, ``[K, d]`` or ``[1, d]``, to each lane's rows ``[K·B, d, ...]``."""
    return (lanes.split(y) + _of_channels(bias, y)).flatten(0, 1)


def _of_channels(vector: Tensor, y: Tensor) -> Tensor:
    """View ``[K, d]`` as it is applied to ``[K, B, d, ...]``."""
    return vector.view(len(vector), 1, -1, *(1,) * (y.ndim - 2))


def _of_dims(vector: Tensor, dims: int) -> Tensor:
    return vector.view(-1, *(1,) * (dims - 1))


COUNTERPARTS |= {
    nn.Conv1d: LaneConv,
    nn.Conv2d: LaneConv,
    nn.BatchNorm1d: LaneBatchNorm,
    nn.BatchNorm2d: LaneBatchNorm,
    LoRAConv: LaneLoRAConv,
    DoRAConv: LaneDoRAConv,
}
