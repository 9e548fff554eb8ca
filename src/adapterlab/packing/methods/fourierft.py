"""FourierFT in packs: a weight of each lane, of one W."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adapterlab.adapters.methods.fourierft import FourierFTLinear, inverse
from adapterlab.adapters.weights import matrix
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.whole_weights import LaneWholeWeight


class LaneFourierFTLinear(LaneWholeWeight):
    """K FourierFT layers (see `FourierFTLinear`), of any numbers of entries, anywhere.

    Shapes: entries ``[K, n]`` for the most entries n, places ``[K, n]``, or ``[n]`` where lanes
    share them.
    """

    fourierft_spectrum: Tensor
    fourierft_places: Tensor
    scaling: Tensor
    used: Tensor

    def __init__(self, modules: Sequence[FourierFTLinear], lanes: Lanes) -> None:
        super().__init__(modules, lanes)
        counts = torch.tensor([len(module.fourierft_spectrum) for module in modules])
        used = torch.arange(int(counts.max())) < counts[:, None]
        self.per_lane("used", used.to(self.fourierft_spectrum))
        scaling = self.fourierft_spectrum.new_tensor([module.scaling for module in modules])
        self.per_lane("scaling", scaling[:, None, None])

    def adapted_matrices(self) -> Tensor:
        """Return W + s_k · Re F⁻¹(E_k)."""
        W = matrix(self.base)
        entries = self.used * self.fourierft_spectrum  # padding has a place as well
        places = self.of_lanes("fourierft_places").expand(entries.shape)
        return W + self.scaling * inverse(entries, places, W.shape)


COUNTERPARTS[FourierFTLinear] = LaneFourierFTLinear
