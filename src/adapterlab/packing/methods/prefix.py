"""K prefixes before the keys and values of one frozen attention."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters.methods.prefix import PrefixAttention, Rows, attended
from adapterlab.adapters.offset_positions import OffsetEmbeddings, offset
from adapterlab.models.forward_passes import SpeaksForBase
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS, LaneModule, base_of_lanes, own_trained


class LanePrefixAttention(SpeaksForBase, LaneModule):
    """K prefixes (see `PrefixAttention`), of any lengths; no query sees padding.

    Shapes: P_k and P_v ``[K, P, d]`` for the longest one.
    """

    over_lanes = True
    prefix_key: Tensor
    prefix_value: Tensor

    def __init__(self, modules: Sequence[PrefixAttention], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = base_of_lanes(modules, lanes)
        self.real: Tensor
        lengths = [len(module.prefix_key) for module in modules]
        own = torch.tensor(lengths, device=self.prefix_key.device)
        places = torch.arange(self.prefix_key.shape[1], device=self.prefix_key.device)
        self.per_lane("real", places < own[:, None])
        self.even = len(set(lengths)) == 1

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Leave out the length."""
        return own_trained(module), module.prefix_key.shape[1]

    @classmethod
    def drawn_over(cls, module: Any) -> tuple[object, ...]:
        """Return the length: a longer one has more to drop."""
        return (len(module.prefix_key),)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the attention returns for each lane's rows."""
        real = None if self.even else self.real
        return attended(
            self.base, lambda: Rows(self.prefix_key, self.prefix_value, real), args, kwargs
        )

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.even = bool(self.real.all())


class LaneOffsetEmbeddings(SpeaksForBase, LaneModule):
    """Embeddings whose places are counted on by each lane's prefix (see `OffsetEmbeddings`)."""

    over_lanes = True

    def __init__(self, modules: Sequence[OffsetEmbeddings], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        self.base = base_of_lanes(modules, lanes)
        self.by = [module.places for module in modules]

    @classmethod
    def signature(cls, module: Any) -> tuple[object, ...]:
        """Leave out how far on."""
        return ()

    def forward(self, input_ids: Tensor, **others: Any) -> Any:
        """Return the embeddings of each lane's rows."""
        if len(set(self.by)) == 1:
            return offset(self.base, self.by[0], input_ids, others)
        parts = []
        for lane, by in enumerate(self.by):
            own = {
                name: value.chunk(len(self.by))[lane] if isinstance(value, Tensor) else value
                for name, value in others.items()
            }
            parts.append(offset(self.base, by, input_ids.chunk(len(self.by))[lane], own))
        return torch.cat(parts)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.by = [self.by[lane] for lane in lanes]


COUNTERPARTS[PrefixAttention] = LanePrefixAttention
COUNTERPARTS[OffsetEmbeddings] = LaneOffsetEmbeddings
