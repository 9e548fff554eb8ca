"""How the parameters of K modules lie in one tensor, and where each lane's part of it is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


class Stack(ABC):
    """K tensors as one, along its first dimension in the order of the lanes.

    Args:
        shapes: of the tensors.
    """

    def __init__(self, shapes: Sequence[torch.Size]) -> None:
        self.shapes = list(shapes)

    @abstractmethod
    def stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the tensors as one."""

    @abstractmethod
    def rows(self, lanes: slice) -> slice:
        """Return where adjacent lanes are in the first dimension."""

    @abstractmethod
    def part(self, stacked: Tensor, lane: int, first: int = 0) -> Tensor:
        """Return a lane's own tensor, without padding; a view.

        Args:
            stacked: all lanes, or those from `first` on.
            lane: its number in the pack.
            first: the lane that `stacked` begins with.
        """

    @abstractmethod
    def norms(self, stacked: Tensor) -> Tensor:
        """Return the Euclidean norm of each lane's tensor, [K]."""

    @abstractmethod
    def scale(self, stacked: Tensor, factors: Tensor) -> None:
        """Multiply each lane's tensor in place by a number of its own.

        Args:
            stacked: all lanes.
            factors: [K].
        """

    def keep(self, stacked: Tensor, lanes: Sequence[int]) -> Tensor:
        """Go on with some of the lanes; return a copy of what they have of `stacked`."""
        kept = torch.cat([stacked[self.rows(slice(lane, lane + 1))] for lane in lanes])
        self.shapes = [self.shapes[lane] for lane in lanes]
        return kept


class Padded(Stack):
    """``[K, ...]``, padded with zeros at the end to the largest size of each dimension."""

    def stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return ``[K, ...]``."""
        shape = [max(sizes) for sizes in zip(*self.shapes, strict=True)]
        padded = tensors[0].new_zeros(len(tensors), *shape)
        for own, tensor in zip(padded, tensors, strict=True):
            own[tuple(slice(n) for n in tensor.shape)] = tensor
        return padded

    def rows(self, lanes: slice) -> slice:
        """Return the lanes: each has one entry."""
        return lanes

    def part(self, stacked: Tensor, lane: int, first: int = 0) -> Tensor:
        """Return a lane's own tensor."""
        return stacked[lane - first][tuple(slice(size) for size in self.shapes[lane])]

    def norms(self, stacked: Tensor) -> Tensor:
        """Return norms, to which padding adds nothing."""
        norms: Tensor = torch.linalg.vector_norm(stacked.flatten(1), dim=1)
        return norms

    def scale(self, stacked: Tensor, factors: Tensor) -> None:
        """Multiply each lane's tensor."""
        stacked.mul_(factors.view(-1, *(1,) * (stacked.ndim - 1)))


class Joined(Stack):
    """``[n_1 + ... + n_K, ...]``, without padding; worth it where rows are long."""

    def stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the tensors one below the other."""
        return torch.cat(list(tensors))

    def rows(self, lanes: slice) -> slice:
        """Return the rows of adjacent lanes."""
        ends = [0, *accumulate(self.sizes)]
        return slice(ends[lanes.start], ends[lanes.stop])

    def part(self, stacked: Tensor, lane: int, first: int = 0) -> Tensor:
        """Return a lane's own tensor."""
        before = self.rows(slice(first, lane)).stop - self.rows(slice(first, lane)).start
        return stacked[before : before + self.sizes[lane]]

    def norms(self, stacked: Tensor) -> Tensor:
        """Return norms."""
        parts = torch.split(stacked, self.sizes)
        return torch.stack([torch.linalg.vector_norm(part) for part in parts])

    def scale(self, stacked: Tensor, factors: Tensor) -> None:
        """Multiply each lane's tensor."""
        for part, factor in zip(torch.split(stacked, self.sizes), factors, strict=True):
            part.mul_(factor)

    @property
    def sizes(self) -> list[int]:
        """How many rows each lane has."""
        return [shape[0] for shape in self.shapes]

    @property
    def even(self) -> bool:
        """Whether all lanes have equally many rows."""
        return len(set(self.sizes)) == 1

    def places(self, most: int) -> Tensor:
        """Return where each row lies when every lane is padded to `most` rows, [n_1 + ...]."""
        lanes = torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes))
        own = torch.cat([torch.arange(size) for size in self.sizes])
        return lanes * most + own


class Flat(Joined):
    """Numbers of all lanes one after the other, ``[n_1 + ... + n_K]``, whatever their shapes."""

    def stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the numbers of all tensors."""
        return torch.cat([tensor.flatten() for tensor in tensors])

    def part(self, stacked: Tensor, lane: int, first: int = 0) -> Tensor:
        """Return a lane's own tensor."""
        return super().part(stacked, lane, first).view(self.shapes[lane])

    @property
    def sizes(self) -> list[int]:
        """How many numbers each lane has."""
        return [shape.numel() for shape in self.shapes]
