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
        self.register_buffer("used", used.to(self.fourierft_spectrum), persistent=False)
        scaling = self.fourierft_spectrum.new_tensor([module.scaling for module in modules])
        self.register_buffer("scaling", scaling[:, None, None], persistent=False)

    def adapted_matrices(self) -> Tensor:
        """Return W + s_k · Re F⁻¹(E_k)."""
        W = matrix(self.base)
        entries = self.used * self.fourierft_spectrum  # padding has a place as well
        places = self.of_lanes("fourierft_places").expand(entries.shape)
        return W + self.scaling * inverse(entries, places, W.shape)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        super().keep(lanes)
        self.used, self.scaling = self.used[list(lanes)], self.scaling[list(lanes)]


COUNTERPARTS[FourierFTLinear] = LaneFourierFTLinear
