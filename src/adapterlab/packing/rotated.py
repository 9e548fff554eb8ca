"""Rotations of K lanes ahead of one frozen layer: alike in some lanes, and of any blocks."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from adapterlab.adapters.cayley import rotations
from adapterlab.adapters.weights import sizes
from adapterlab.packing.layers import LaneAdapter


class LaneRotated(LaneAdapter):
    """K layers whose inputs are rotated in blocks, by rotations that each lane trains.

    What they are made of is all lanes' one after the other; of each lane it is ``[..., n,
    b(b-1)/2]``, n blocks of b inputs, and lanes are computed together where it has one shape.
    """

    rotated: ClassVar[str]
    """The name of what rotations are made of."""

    @staticmethod
    @abstractmethod
    def turn(rows: Tensor, R: Tensor, *, back: bool) -> Tensor:
        """Return rows ``[k, N, d]``, or ``[1, N, d]``, turned by R, ``[k, ..., n, b, b]``.

        Args:
            rows: of lanes whose blocks are alike; or those that they share.
            R: their rotations.
            back: by the inverse.
        """

    def turned(self, rows: Tensor, *, back: bool = False) -> Tensor:
        """Return rows turned by each lane's rotations, ``[K, N, d]``.

        Args:
            rows: ``[K, N, d]``, or ``[1, N, d]`` where all share them.
            back: by the inverse.
        """
        stack, above = self.stacks[self.rotated], getattr(self, self.rotated)
        kinds, found = list(dict.fromkeys(stack.shapes)), dict[int, Tensor]()
        if len(kinds) == 1:
            R = self._rotations(above.view(self.lanes.count, *kinds[0]), rows)
            return self.turn(rows, R, back=back)
        for kind in kinds:
            lanes = [k for k, own in enumerate(stack.shapes) if own == kind]
            R = self._rotations(torch.stack([stack.part(above, k) for k in lanes]), rows)
            parts = self.turn(rows if len(rows) == 1 else rows[lanes], R, back=back)
            found.update(zip(lanes, parts, strict=True))
        return torch.stack([found[k] for k in range(self.lanes.count)])

    def _rotations(self, above: Tensor, rows: Tensor) -> Tensor:
        d_in, _ = sizes(self.base)
        return rotations(above, d_in // above.shape[-2]).to(rows.dtype)
