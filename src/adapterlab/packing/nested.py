"""Frozen tensors of lanes that are beginnings of one: computed with once, for all lanes."""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from adapterlab.adapters.targeted import LinearAdapter
from adapterlab.packing.dropout import LaneDropout
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import LaneAdapter, same_numbers
from adapterlab.packing.products import lane_product
from adapterlab.packing.stacking import Stack


class Nested(Stack):
    """One tensor, of which every lane has the beginning in each dimension; frozen only."""

    def stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the largest one."""
        return max(tensors, key=torch.Tensor.numel)

    def rows(self, lanes: slice) -> slice:
        """Return all: they are every lane's."""
        return slice(None)

    def part(self, stacked: Tensor, lane: int, first: int = 0) -> Tensor:
        """Return a lane's beginning of it."""
        return stacked[tuple(slice(size) for size in self.shapes[lane])]

    def norms(self, stacked: Tensor) -> Tensor:
        """Return the norms of the lanes' parts."""
        parts = [self.part(stacked, lane) for lane in range(len(self.shapes))]
        return torch.stack([torch.linalg.vector_norm(part) for part in parts])

    def scale(self, stacked: Tensor, factors: Tensor) -> None:
        """Refuse: what lanes share is not one's to change."""
        raise NotImplementedError("frozen tensors that lanes share are not scaled")

    def keep(self, stacked: Tensor, lanes: Sequence[int]) -> Tensor:
        """Go on with some of the lanes over the same tensor."""
        self.shapes = [self.shapes[lane] for lane in lanes]
        return stacked


class NestedLaneModule(LaneAdapter):
    """K adapters of one linear layer; lanes share frozen tensors also where their shapes differ.

    Singular vectors of one weight are such, of several ranks: what is computed with the largest
    has what all the others make of it. Whether they are is looked at, not taken for granted; where
    they are not, they are each lane's own and padded.
    """

    nested: ClassVar[tuple[str, ...]] = ()
    """Names of the frozen tensors that may be beginnings of the largest one."""

    def __init__(self, modules: Sequence[LinearAdapter], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.dropout = LaneDropout([copy.deepcopy(module.dropout) for module in modules], lanes)

    def is_shared(self, name: str) -> bool:
        """Say whether there is one tensor for all lanes, ``[...]``, rather than ``[K, ...]``."""
        return name not in self.stacks or isinstance(self.stacks[name], Nested)

    def project(self, x: Tensor, name: str) -> Tensor:
        """Return the rows of x times a frozen matrix, ``[K or 1, B·..., d]``.

        Rows that lanes share stay one set of rows where the matrix is shared, too.
        """
        projection: Tensor = getattr(self, name)
        if self.is_shared(name):
            return self.lanes.flat(self.lanes.frozen_linear(x, projection))
        return self.lanes.linear(x, projection)

    def raise_to_outputs(self, y: Tensor, name: str) -> Tensor:
        """Return ``[K, B·..., r]`` times a frozen matrix, ``[K, B·..., d_out]``."""
        projection: Tensor = getattr(self, name)
        if self.is_shared(name):
            return nn.functional.linear(y, projection)
        return y @ projection.mT

    def times_each(self, rows: Tensor, matrices: Tensor) -> Tensor:
        """Multiply rows ``[K, N, r]``, or shared ``[1, N, r]``, by ``[K, s, r]``; ``[K, N, s]``."""
        if rows.shape[0] == 1:
            y = nn.functional.linear(rows[0], matrices.flatten(0, 1))
            return y.view(len(y), len(matrices), -1).transpose(0, 1)
        return lane_product(rows, matrices)

    def _stacked(self, name: str, modules: Sequence[Any]) -> Tensor:
        if name in self.nested:
            tensors = [getattr(module, name).detach() for module in modules]
            stack = Nested([tensor.shape for tensor in tensors])
            largest = stack.stacked(tensors)
            parts = [stack.part(largest, lane) for lane in range(len(tensors))]
            if all(map(same_numbers, parts, tensors)):
                self.stacks[name] = stack
                return largest
        return super()._stacked(name, modules)
