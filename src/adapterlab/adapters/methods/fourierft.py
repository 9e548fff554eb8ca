"""FourierFT: a few entries of an update's spectrum are trained."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn

from adapterlab.adapters.factors import plain_number
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import OnLayers, WholeWeight, Wrapping, require_linear
from adapterlab.adapters.weights import is_transposed, matrix, sizes
from adapterlab.base.errors import ConfigError, allowed

Start = Literal["zero", "normal"]
"""First values of the entries: zero, or N(0, 1), the paper's, which is not the base's."""


class FourierFTLinear(WholeWeight):
    """FourierFT (Gao et al. 2024, https://arxiv.org/abs/2405.03003).

    y = (W + s · Re F⁻¹(E)) x + b, with F⁻¹ the inverse discrete Fourier transform in both
    dimensions, of a real E that is zero but for n entries.

    Shapes: x [..., d_in], W and E [d_out, d_in], y [..., d_out], entries [n], their places in the
    flattened E [n].

    The places are frozen state, drawn from a seed among the options.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        places: of the entries that are trained.
        scaling: s.
        start: see `Start`.
        generator: CPU generator that the entries are drawn from; torch's default one when None.
    """

    matrices: ClassVar[int] = 6  # half spectra are complex, and so are their gradients

    fourierft_places: Tensor

    def __init__(
        self,
        base: nn.Module,
        places: Tensor,
        *,
        scaling: float,
        start: Start = "zero",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base)
        self.scaling, weight = scaling, matrix(base)
        self.keep_frozen("fourierft_places", places.to(weight.device))
        first = weight.new_zeros(len(places))
        if start == "normal" and not weight.is_meta:
            first = torch.randn(len(places), generator=generator).to(weight)
        self.fourierft_spectrum = nn.Parameter(first)

    def adapted_matrix(self) -> Tensor:
        """Return W + s · Re F⁻¹(E), [d_out, d_in]; gradients flow."""
        W = matrix(self.base)
        update = inverse(self.fourierft_spectrum[None], self.fourierft_places[None], W.shape)
        return W + self.scaling * update[0]

    def describe(self) -> str:
        """Say how many entries there are, and the scale."""
        return f"FourierFT, {len(self.fourierft_spectrum):,} entries, scale {self.scaling:g}"


def inverse(entries: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
    """Return the real part of inverse transforms, in float32 at least.

    Args:
        entries: of spectra, [K, n].
        places: of these in flattened spectra, [K, n].
        shape: of a spectrum, [d_out, d_in].

    Returns:
        [K, d_out, d_in], of the type of the entries.
    """
    # The real part is the transform of what of E is symmetric, of which half the columns tell all.
    rows, columns = shape
    kept = columns // 2 + 1
    row, column = places // columns, places % columns
    mirrored_row, mirrored_column = -row % rows, -column % columns
    first = torch.where(column < kept, row * kept + column, mirrored_row * kept + mirrored_column)
    # Columns that are their own counterparts have both.
    own = mirrored_column == column
    second = torch.where(own, mirrored_row * kept + column, first)
    half = entries.to(torch.promote_types(entries.dtype, torch.float32)) / 2
    values = torch.cat((half, half * own), 1)
    spectra = half.new_zeros(len(entries), rows * kept)
    spectra = spectra.scatter_add(1, torch.cat((first, second), 1), values)
    spectra = torch.complex(spectra, torch.zeros_like(spectra)).view(-1, rows, kept)
    found: Tensor = torch.fft.irfft2(spectra, s=tuple(shape))
    return found.to(entries.dtype)


@dataclass(frozen=True, kw_only=True)
class FourierFT(OnLayers):
    """Train a few entries of each update's spectrum (Gao et al. 2024, arXiv:2405.03003).

    Args:
        n_frequency: entries of each layer.
        scaling: that the update is multiplied with; the inverse transform divides by the weight's
            size, so that small layers want little.
        location_seed: of the places of the entries, the same for runs of all seeds; PEFT, which
            draws them likewise, calls it `random_loc_seed`.
        start: see `Start`.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "n_frequency"

    n_frequency: int = 1000
    scaling: float = 150.0
    location_seed: int = 777
    start: Start = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_frequency < 1:
            raise ConfigError(f"adapter.n_frequency={self.n_frequency} must be 1 or more")
        if not 0 < self.scaling < math.inf:
            raise ConfigError(f"adapter.scaling={self.scaling:g} must be above 0 and finite")
        if not 0 <= self.location_seed < 2**63:
            raise ConfigError(
                f"adapter.location_seed={self.location_seed} must be at least 0 and below 2^63"
            )
        if self.start not in get_args(Start):
            raise ConfigError(f"adapter.start={self.start}; {allowed(self.start, get_args(Start))}")

    def most(self, model: nn.Module) -> int:
        """Return the size of the smallest weight."""
        return min(math.prod(sizes(layer)) for layer in self.chosen(model).values())

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what adds to a layer's weight."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("fourierft", name, layer)
            if self.n_frequency > (most := math.prod(sizes(layer))):
                raise ConfigError(
                    f"adapter.n_frequency={self.n_frequency}: {name} has {most:,} weights; allowed "
                    f"there: 1 to {most}"
                )
            return FourierFTLinear(
                layer,
                self._places(matrix(layer)),
                scaling=self.scaling,
                start=self.start,
                generator=generator,
            )

        return wrap

    def _places(self, W: Tensor) -> Tensor:
        if W.is_meta:
            return torch.empty(self.n_frequency, dtype=torch.long, device="meta")
        own = torch.Generator().manual_seed(self.location_seed)
        return torch.randperm(W.numel(), generator=own)[: self.n_frequency]


class _PeftFourierFT(PlainMethod):
    """PEFT's FOURIERFT, whose files have the entries and not their places."""

    peft_type = "FOURIERFT"
    counting: ClassVar[Mapping[str, Any]] = {
        **{"scaling": 150.0, "random_loc_seed": 777, "bias": "none"}
    }
    further: ClassVar[tuple[str, ...]] = ("n_frequency", "n_frequency_pattern", "init_weights")

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many entries there are, and where."""
        strategy = cast(FourierFT, adapted.strategy)
        return {
            **{"n_frequency": strategy.n_frequency, "scaling": plain_number(strategy.scaling)},
            **{"random_loc_seed": strategy.location_seed, "bias": "none"},
            "init_weights": strategy.start == "zero",
            "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
        }


METHODS[FourierFT] = _PeftFourierFT(
    FourierFTLinear,
    {"fourierft_spectrum": "fourierft_spectrum"},
    frozen=("fourierft_places",),
)
