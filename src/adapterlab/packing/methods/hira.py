"""HiRA in packs: a weight of each lane, of one W."""

import torch
from torch import Tensor

from adapterlab.adapters.methods.hira import HiRALinear
from adapterlab.adapters.weights import matrix
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.whole_weights import LaneWholeWeight


class LaneHiRALinear(LaneWholeWeight):
    """K HiRA layers (see `HiRALinear`), of any ranks: W + W ∘ B_k A_k.

    Shapes: A ``[K, R, d_in]`` and B ``[K, d_out, R]`` for the largest rank R.
    """

    hira_A: Tensor  # noqa: N815  # as HiRALinear has them
    hira_B: Tensor  # noqa: N815

    def adapted_matrices(self) -> Tensor:
        """Return W + W ∘ B_k A_k."""
        W = matrix(self.base)
        return torch.addcmul(W, W, self.hira_B @ self.hira_A)


COUNTERPARTS[HiRALinear] = LaneHiRALinear
