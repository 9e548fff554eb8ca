"""Places of a model where the lanes of a pack are adapted in several ways."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapterlab.packing.lanes import Lanes, LanesPart
from adapterlab.packing.layers import COUNTERPARTS, LaneModule

Part = tuple[object, ...]
"""Name, type and fixed sizes of a module that trains parameters of its own."""


class LaneGroups(nn.Module):
    """Batched counterparts side by side, each of adjacent lanes that are adapted alike.

    Args:
        parts: in the order of their lanes.
    """

    def __init__(self, parts: Sequence[LaneModule]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    @property
    def weight(self) -> Tensor:
        """The base's, for models that look at its type."""
        return cast(Tensor, self.parts[0].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map each lane's rows, ``[K·B, ...]`` or shared, to ``[K·B, ...]``."""
        found = []
        for part in cast(Sequence[LaneModule], self.parts):
            lanes = cast(LanesPart, part.lanes)
            # Lanes that do not differ in it may share what a module gives.
            found.append(lanes.expand(part(lanes.rows_of(x))))
        return torch.cat(found)

    def drop(self) -> None:
        """Leave out the parts whose lanes have all left."""
        left = cast(Sequence[LaneModule], self.parts)
        self.parts = nn.ModuleList(part for part in left if part.lanes.count)


class Grouping:
    """Which lanes of a pack are adapted alike at a place; equal groups are one object.

    Args:
        lanes: of the pack.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self._parts: dict[tuple[int, int], LanesPart] = {}

    def counterpart(self, modules: Sequence[Any], alike: Sequence[Part]) -> nn.Module:
        """Return what computes a place's modules for all lanes.

        Args:
            modules: of each lane.
            alike: likewise; those of equal entries have one batched counterpart.
        """
        kind = COUNTERPARTS[type(modules[0])]
        runs = list(runs_of(alike))
        if len(runs) == 1:
            return kind(modules, self.lanes)
        return LaneGroups(
            [COUNTERPARTS[type(modules[run.start])](modules[run], self._part(run)) for run in runs]
        )

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        for part in self._parts.values():
            part.keep(within(part, lanes))
            part.start = sum(lane < part.start for lane in lanes)

    def _part(self, run: slice) -> LanesPart:
        key = run.start, run.stop
        if key not in self._parts:
            self._parts[key] = LanesPart(self.lanes, run)
        return self._parts[key]


def within(part: Lanes, lanes: Sequence[int]) -> list[int]:
    """Return which of a pack's lanes are in a part of it, by their numbers in the part."""
    return [lane - part.start for lane in lanes if part.all.start <= lane < part.all.stop]


def runs_of(alike: Iterable[object]) -> Iterator[slice]:
    """Yield adjacent lanes of equal entries."""
    start = 0
    for _, group in groupby(alike):
        size = len(list(group))
        yield slice(start, start + size)
        start += size
