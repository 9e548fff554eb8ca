"""Batched counterparts of the layers that strategies train: K of them over one frozen base."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.methods.lora import LoRALinear
from adapterlab.adapters.strategy import AdapterLayer, replace_module
from adapterlab.adapters.weights import matrix
from adapterlab.packing.dropout import LaneDropout
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.stacking import Flat, Joined, Padded, Stack


def own_trained(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the trained parameters that a module owns itself."""
    return tuple(name for name, p in module.named_parameters(recurse=False) if p.requires_grad)


def frozen_names(module: nn.Module) -> Mapping[str, bool]:
    """Return the names of a module's frozen state, and whether checkpoints hold it."""
    return module.frozen if isinstance(module, AdapterLayer) else {}


def same_numbers(a: Tensor, b: Tensor) -> bool:
    """Say whether tensors hold the same numbers; a broken one, NaN, is as good as another."""
    if a is b or torch.equal(a, b):
        return True
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


class LaneModule(nn.Module):
    """K modules as one: what is each lane's own stacked, all else shared.

    A lane's own are its trained parameters, and frozen state (see `AdapterLayer.keep_frozen`) that
    is not equal in all lanes, or that checkpoints hold. Where shapes differ between lanes, as those
    of low-rank factors do, they are padded with zeros at the end. In the layers here the gradient
    of padding is zero, so it stays zero under SGD, Adam and their kin, and the other entries are
    not touched by it.

    Args:
        modules: one of each lane, of one type, training parameters of the same names.
        lanes: of the pack.

    Attributes:
        trained: names of the trained parameters.
        stacks: how each tensor that is stacked is, by its name.
    """

    joined: ClassVar[tuple[str, ...]] = ()
    """Tensors whose rows follow each other without padding."""

    flat: ClassVar[tuple[str, ...]] = ()
    """Tensors whose numbers do, of shapes that have nothing in common."""

    over_lanes: ClassVar[bool] = False
    """Whether its base may differ between lanes, being trained or adapted: see `base_of_lanes`."""

    lengthens_rows: ClassVar[bool] = False
    """Whether its base is given longer texts, over which adapters inside of it draw, too."""

    def __init__(self, modules: Sequence[Any], lanes: Lanes) -> None:
        super().__init__()
        self.lanes = lanes
        self.trained = own_trained(modules[0])
        self.stacks: dict[str, Stack] = {}
        self._numbers: list[str] = []
        for name in self.trained:
            self.register_parameter(name, nn.Parameter(self._stacked(name, modules)))
        for name, parameter in modules[0]._parameters.items():
            if name not in self.trained:
                self.register_parameter(name, parameter)
        self._saved = []
        self.frozen = frozen_names(modules[0])
        for name, saved in self.frozen.items():
            tensor = getattr(modules[0], name)
            if saved or any(not same_numbers(tensor, getattr(m, name)) for m in modules[1:]):
                tensor = self._stacked(name, modules)
            self.register_buffer(name, tensor, persistent=False)
            self._saved += [name] * saved

    def _stacked(self, name: str, modules: Sequence[Any]) -> Tensor:
        tensors = [getattr(module, name).detach() for module in modules]
        stack = Joined if name in self.joined else Flat if name in self.flat else Padded
        self.stacks[name] = stack([tensor.shape for tensor in tensors])
        return self.stacks[name].stacked(tensors)

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Return what must be equal in all lanes, besides the types."""
        shapes = {name: tuple(p.shape) for name, p in module.named_parameters(recurse=False)}
        return own_trained(module), tuple(shapes.items())

    @classmethod
    def drawn_over(cls, module: Any) -> tuple[object, ...]:
        """Return what must be equal as well where dropout inside of its base is on."""
        return ()

    def lane(self, k: int) -> dict[str, Tensor]:
        """Return what checkpoints hold of a lane, by the names in its own module, as views."""
        names = (*self.trained, *self._saved)
        return {n: self.stacks[n].part(getattr(self, n).data, k) for n in names}

    def frozen_of(self, k: int) -> dict[str, Tensor]:
        """Return the frozen state of a lane, its own or shared, as views."""
        frozen = {name: getattr(self, name) for name in self.frozen}
        return {
            name: self.stacks[name].part(tensor, k) if name in self.stacks else tensor
            for name, tensor in frozen.items()
        }

    def per_lane(self, name: str, numbers: Tensor) -> None:
        """Keep numbers of the lanes that nobody trains, ``[K, ...]``, as an attribute `name`."""
        self.register_buffer(name, numbers, persistent=False)
        self._numbers.append(name)

    def of_lanes(self, name: str) -> Tensor:
        """Return a tensor as ``[K, ...]`` where lanes have their own, ``[1, ...]`` if shared."""
        tensor: Tensor = getattr(self, name)
        return tensor if name in self.stacks else tensor[None]

    def for_rows(self, name: str) -> Tensor:
        """Return a vector as it is applied to ``[K, N, d]``: each lane's own, or the shared one."""
        vector: Tensor = getattr(self, name)
        return vector[:, None] if name in self.stacks else vector

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes; parameters stay the same objects."""
        for name, stack in self.stacks.items():
            tensor = getattr(self, name)
            tensor.grad = None
            tensor.data = stack.keep(tensor.data, lanes)
        for name in self._numbers:
            setattr(self, name, getattr(self, name)[list(lanes)])
        for child in self.children():
            if isinstance(child, LaneDropout):
                child.keep(lanes)


def base_of_lanes(modules: Sequence[AdapterLayer], lanes: Lanes) -> nn.Module:
    """Return the bases of K adapter layers as one: what they share, or with what is each lane's.

    Args:
        modules: one of each lane; in their bases the same is adapted or trained, or nothing.
        lanes: of the pack.
    """
    base = modules[0].base
    inner = list(training_modules(base))
    tensors = (*base.parameters(), *base.buffers())
    if inner and inner[0][0]:  # else it has a counterpart itself, or is shared
        base = copy.deepcopy(base, memo={id(t): t for t in tensors if not t.requires_grad})
    for name, module in inner:
        own = [one.base.get_submodule(name) for one in modules]
        counterpart = COUNTERPARTS[type(module)](own, lanes)
        if not name:
            return counterpart
        replace_module(base, name, counterpart)
    return base


def training_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that own trained parameters, an adapter layer as one."""
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        if isinstance(module, AdapterLayer):
            inside += (f"{name}.",)
            yield name, module
        elif own_trained(module):
            yield name, module


class LaneLinear(LaneModule):
    """K linear layers, of which weight, bias, or both are trained.

    y_k = W_k x_k + b_k. Shapes: x ``[K·B, ..., d_in]`` or shared, y ``[K·B, ..., d_out]``.
    """

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows by its own layer."""
        lanes = self.lanes
        if "weight" in self.trained:
            y = lanes.linear(x, self.weight)
        else:
            y = lanes.flat(lanes.frozen_linear(x, self.weight))
        return lanes.join(y if self.bias is None else y + self.for_rows("bias"), x)


class LaneLayerNorm(LaneModule):
    """K layer norms, of which weight, bias, or both are trained.

    Shapes: x ``[K·B, ..., d]`` or shared, y ``[K·B, ..., d]``.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, modules: Sequence[nn.LayerNorm], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.eps, self.width = modules[0].eps, modules[0].normalized_shape

    @classmethod
    def signature(cls, module: nn.LayerNorm) -> tuple[object, ...]:
        """Add what a norm is computed with."""
        return *super().signature(module), module.eps, tuple(module.normalized_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each row; scale and shift it by its lane's parameters."""
        y = self.lanes.flat(F.layer_norm(x, self.width, eps=self.eps))
        if self.weight is not None:
            y = y * self.for_rows("weight")
        if self.bias is not None:
            y = y + self.for_rows("bias")
        return self.lanes.join(y, x)


class LaneAdapter(LaneModule):
    """K adapters of one frozen layer, which may differ in the sizes of what they train."""

    base: nn.Module

    def __init__(self, modules: Sequence[AdapterLayer], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = base_of_lanes(modules, lanes)

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Leave out what shapes of its own a lane has."""
        return own_trained(module), tuple(matrix(module.base).shape), module.base.bias is None

    @property
    def weight(self) -> Tensor:
        """The base's, for models that look at its type; to compute with it fails the trial."""
        return cast(Tensor, self.base.weight)


class LaneLoRALinear(LaneAdapter):
    """K LoRA updates of one frozen linear layer (see `LoRALinear`), of any ranks.

    y_k = W x_k + b + s_k · B_k A_k dropout_k(x_k). The product with W runs over all rows at once,
    and so does that with the A of all lanes, one below the other, while lanes share their rows.
    First updates that are subtracted are more columns of the same product with B.

    Shapes: x ``[K·B, ..., d_in]`` or shared, A ``[r_1 + ... + r_K, d_in]``, B ``[K, d_out, R]`` for
    the largest rank R, y ``[K·B, ..., d_out]``.
    """

    joined = ("lora_A", "first_A")
    over_lanes = True

    lora_A: Tensor  # noqa: N815  # the names of LoRALinear, and of its checkpoints
    lora_B: Tensor  # noqa: N815
    first_A: Tensor  # noqa: N815

    def __init__(self, modules: Sequence[LoRALinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.dropout = LaneDropout([copy.deepcopy(module.dropout) for module in modules], lanes)
        self.scale: Tensor
        scales = self.lora_B.new_tensor([module.scale for module in modules])
        self.per_lane("scale", scales[:, None, None])
        self.places: Tensor | None
        self._find_places()

    def padded(self, joined: Tensor) -> Tensor:
        """Give every lane R rows, the last of them zero; ``[r_1 + ..., d]`` to ``[K, R, d]``."""
        if self.places is not None:
            rows = self.lanes.count * self.lora_B.shape[-1]
            padded = joined.new_zeros(rows, joined.shape[-1])
            joined = padded.index_copy(0, self.places, joined)
        return joined.view(self.lanes.count, -1, joined.shape[-1])

    @property
    def less_first(self) -> bool:
        """Whether first updates are subtracted."""
        return "first_A" in self.frozen

    def down(self, x: Tensor) -> Tensor:
        """Return A dropout(x), ``[K, B·..., R]``; ``[K, B·..., 2 R]`` with the first A as well."""
        x = self.dropout(x)
        down = self._product(x, "lora_A")
        if not self.less_first:
            return down
        first = self._product(x, "first_A").expand(*down.shape[:-1], -1)
        return torch.cat((down, first), -1)

    def up(self) -> Tensor:
        """Return s · B, ``[K, d_out, R]``; ``[K, d_out, 2 R]`` with the first B as well."""
        B = self.scale * self.lora_B
        if not self.less_first:
            return B
        return torch.cat((B, -self.scale * self.of_lanes("first_B")), -1)

    def _product(self, x: Tensor, name: str) -> Tensor:
        """Return A x, ``[K, B·..., R]``, or ``[1, B·..., R]`` of an A and rows in common."""
        A: Tensor = getattr(self, name)
        if name not in self.stacks:
            return self.lanes.flat(self.lanes.frozen_linear(x, A))
        down = self.lanes.linear_joined(x, A, self.stacks[name].shapes)
        if down is None:
            return self.lanes.linear(x, self.padded(A))
        return self.padded(down).mT

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows."""
        update = self.down(x) @ self.up().mT
        return self.lanes.join(self.lanes.add(self.lanes.of_base(self.base, x), update), x)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self._find_places()

    def _find_places(self) -> None:
        """Find where the rows of A are in ``[K·R, d]``; B may be wider than the ranks that stay."""
        ranks = cast(Joined, self.stacks["lora_A"])
        width = self.lora_B.shape[-1]
        places = None
        if not ranks.even or ranks.sizes[0] != width:
            places = ranks.places(width).to(self.lora_A.device)
        self.register_buffer("places", places, persistent=False)


COUNTERPARTS: dict[type[nn.Module], type[LaneModule]] = {
    nn.Linear: LaneLinear,
    nn.LayerNorm: LaneLayerNorm,
    LoRALinear: LaneLoRALinear,
}
"""The batched counterpart of every layer that has one; a subclass needs an entry of its own."""
