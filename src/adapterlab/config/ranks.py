"""Options of ranks that the tool chooses, before a training or after it."""

from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from adapterlab.config.domains import Count, NotNegative, Part
from adapterlab.config.validation import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ranks:
    """How `adapter.rank=auto` gives out ranks.

    Attributes:
        batches: of the training that pass through the base.
        rho: the most that a layer gets, times the mean rank.
        asked: the strategy before its ranks were given out; solving fills it in.
    """

    batches: Count = 8
    rho: Annotated[float, Field(ge=1, le=1000)] = 2.0
    asked: dict[str, Any] | None = None


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
