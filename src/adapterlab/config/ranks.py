"""Options of ranks that the tool chooses, before a training or after it."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from adapterlab.config.domains import Count, NotNegative, Part
from adapterlab.config.validation import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ranks:
    """How `adapter.rank=auto` gives out ranks.

    Attributes:
        by: what a layer is given ranks for: its `inputs`, by how many directions they vary in, as
            EVA does, or its `gradients`, by their products with its weights, as GoRA does.
        batches: of the training that pass through the base.
        rho: the most that a layer gets, times the mean rank; None for the method's own, 2 and 4.
        floor: the least that a layer gets, likewise; None for the method's own, 0 and 0.5.
        asked: the strategy before its ranks were given out; solving fills it in.
    """

    batches: Count = 8
    rho: Annotated[float, Field(ge=1, le=1000)] | None = None
    floor: Annotated[float, Field(ge=0, le=1)] | None = None
    by: Literal["inputs", "gradients"] = "inputs"
    asked: dict[str, Any] | None = None

    def most(self, mean: int) -> int:
        """Return the most that a layer gets at a mean rank."""
        return max(int(self._times * mean), 1)

    def least(self, mean: int) -> int:
        """Return the least that a layer gets at a mean rank."""
        return int(self._floor * mean)

    def told_apart(self) -> dict[str, Any]:
        """Return how ranks are given out for hashes of runs, where it is as it was before `by`."""
        own: dict[str, Any] = {"batches": self.batches, "rho": self._times}
        if self.by != "inputs":
            own["by"] = self.by
        if self._floor != _OWN[self.by][1]:
            own["floor"] = self._floor
        return own

    @property
    def _times(self) -> float:
        return _OWN[self.by][0] if self.rho is None else self.rho

    @property
    def _floor(self) -> float:
        return _OWN[self.by][1] if self.floor is None else self.floor


_OWN = {"inputs": (2.0, 0.0), "gradients": (4.0, 0.5)}
"""The methods' own `rho` and `floor`: EVA's, and GoRA's."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pruned:
    """What ranks were cut out of, and how far; pruning fills it in.

    Attributes:
        run: name of the trained run.
        adapter_sha256: of its adapter.
        adapter: its strategy.
        keep: share of the updates' parameters that was chosen.
        tried: all shares among which.
        margin: points on validation that fewer parameters were allowed to cost.
    """

    run: str
    adapter_sha256: str
    adapter: dict[str, Any]
    keep: Part
    tried: list[Part]
    margin: NotNegative
