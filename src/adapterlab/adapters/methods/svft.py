"""SVFT: a trained sparse matrix between all singular vectors of the weight, which are frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.decomposition import Decomposition, decompose
from adapterlab.adapters.factors import check_low_rank
from adapterlab.adapters.strategy import replace_module
from adapterlab.adapters.targeted import LinearAdapter, OverLinear
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.base.errors import ConfigError, allowed

Pattern = Literal["plain", "banded", "top_k", "random"]
"""Which entries of M are trained: its diagonal, a band, those of aligned vectors, any."""


class SVFTLinear(LinearAdapter):
    """SVFT (Lingam et al. 2024, https://arxiv.org/abs/2405.19597).

    y = W x + b + U M V^T dropout(x), with W = U S V^T; U and V are frozen, of M [m, m] some entries
    are trained, and the others are zero. m = min(d_out, d_in).

    | pattern | entries of M |
    | --- | --- |
    | `plain` | the diagonal, m: each singular value by itself |
    | `banded` | the diagonal and `band` diagonals on each side, m (2 band + 1) - band (band + 1) |
    | `top_k` | as many as that, (i, j) of the largest abs(u_i · v_j) |
    | `random` | as many as that, drawn for each layer |

    M starts at zero, and so the layer as the base. What was read is the authors' code
    (https://github.com/VijayLingam95/SVFT), not the paper; it differs: its entries start
    Kaiming-normal and are multiplied by a trained gate of each layer, it draws `random` with
    repetitions, and takes signed products for `top_k`. u_i and v_j are of one length only where W
    is square. Elsewhere the entries (i, j) of the larger of U and V that are square are ranked, by
    magnitude, as that code does.

    Shapes: x [..., d_in], V^T [m, d_in], U [d_out, m], y [..., d_out].

    U and V^T are frozen state made from the base and as large as it: lanes share them. The
    places of single entries are frozen state too, of each seed's own if they are drawn.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        pattern: which entries are trained.
        band: diagonals on each side of the first, for all but `plain`; at most m - 1.
        dropout: probability of dropping an input of V^T.
        generator: CPU generator of `random`; torch's default one when None.
    """

    roles: ClassVar[Mapping[str, str]] = {"svft_M": "M"}
    singular = True
    of_base = ("svft_U", "svft_Vh")

    svft_U: Tensor  # noqa: N815
    svft_Vh: Tensor  # noqa: N815
    svft_places: Tensor

    def __init__(
        self,
        base: nn.Module,
        *,
        pattern: Pattern = "plain",
        band: int = 1,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base, dropout=dropout)
        of = decompose(matrix(base))
        self.size = len(of.S)
        self.pattern = pattern
        self.band = 0 if pattern == "plain" else min(band, self.size - 1)
        self.keep_frozen("svft_U", of.U)
        self.keep_frozen("svft_Vh", of.Vh)
        entries = entries_of_band(self.size, self.band)
        if not self.is_banded:
            self.keep_frozen("svft_places", _places(pattern, of, entries, generator))
        self.svft_M = nn.Parameter(of.S.new_zeros(entries))

    @property
    def inner(self) -> int:
        """m, to which V^T brings a row."""
        return self.size

    @property
    def is_banded(self) -> bool:
        """Whether the entries lie on diagonals."""
        return self.pattern in ("plain", "banded")

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        z = F.linear(self.dropout(x), self.svft_Vh)
        return cast(Tensor, self.base(x) + F.linear(self.times_middle(z), self.svft_U))

    def times_middle(self, z: Tensor) -> Tensor:
        """Return M z, [..., m]; M itself is never formed."""
        if self.is_banded:
            return times_band(z, self.svft_M, self.band)
        rows = z.reshape(1, -1, self.size)
        return times_entries(rows, self.svft_M[None], self.svft_places[None]).view_as(z)

    def middle(self) -> Tensor:
        """Return M, [m, m]; gradients flow."""
        return self.times_middle(torch.eye(self.size).to(self.svft_M)).mT

    def adapted_matrix(self) -> Tensor:
        """Return W + U M V^T, [d_out, d_in]; gradients flow."""
        return matrix(self.base) + self.svft_U @ self.middle() @ self.svft_Vh

    def describe(self) -> str:
        """Say the pattern."""
        return "SVFT" + {
            "plain": " plain",
            "banded": f" of {self.band} diagonals on each side",
        }.get(self.pattern, f" {self.pattern} {len(self.svft_M):,}")


@dataclass(frozen=True, kw_only=True)
class SVFT(OverLinear):
    """Train some entries of M in W + U M V^T, all singular vectors frozen (Lingam et al. 2024).

    It keeps the singular vectors beside the weights, which doubles what frozen layers take.

    Args:
        head: see `Targeted`; the other places as well.
        pattern: `plain`, `banded`, `top_k` or `random`: see `SVFTLinear`.
        band: diagonals on each side; `top_k` and `random` train as many entries as such a band.
        dropout: probability of dropping an input of the update.
        **targeted: see `Targeted`.
    """

    dial: ClassVar[str | None] = "band"

    pattern: Pattern = "plain"
    band: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern not in get_args(Pattern):
            raise ConfigError(
                f"adapter.pattern={self.pattern}; {allowed(self.pattern, get_args(Pattern))}"
            )
        if self.band < 1:
            raise ConfigError(
                f"adapter.band={self.band} must be 1 or more; adapter.pattern=plain is the "
                "diagonal alone"
            )
        check_low_rank(1, 1.0, self.dropout)

    def budget_dial(self) -> str | None:
        """Return `band`; None for `plain`, whose size the layers say."""
        return None if self.pattern == "plain" else self.dial

    def most(self, model: nn.Module) -> int:
        """Return how many diagonals there are on a side of the largest M."""
        return max(1, *(min(sizes(layer)) - 1 for layer in self.chosen(model).values()))

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Wrap every targeted layer."""
        for name, layer in self.chosen(model).items():
            own = SVFTLinear(
                layer,
                pattern=self.pattern,
                band=self.band,
                dropout=self.dropout,
                generator=generator,
            )
            replace_module(model, name, own)


def entries_of_band(size: int, band: int) -> int:
    """Return how many entries a square matrix has on its diagonal and `band` on each side."""
    return size * (2 * band + 1) - band * (band + 1)


def times_band(z: Tensor, entries: Tensor, band: int) -> Tensor:
    """Return M z, of a matrix with entries on its diagonal and on `band` diagonals on each side.

    Args:
        z: [..., m].
        entries: [..., n]: the diagonal, the first above it, the first below it, the second above,
            each from its upper left. A narrower band's entries are the beginning of a wider one's.
        band: diagonals on each side.
    """
    m = z.shape[-1]
    y, first = entries[..., :m] * z, m
    for offset in range(1, band + 1):
        length = m - offset
        above, below = (entries[..., first + i * length :][..., :length] for i in (0, 1))
        y = y + F.pad(above * z[..., offset:], (0, offset))
        y = y + F.pad(below * z[..., :length], (offset, 0))
        first += 2 * length
    return y


def times_entries(z: Tensor, entries: Tensor, places: Tensor) -> Tensor:
    """Return M z of K matrices of single entries, [K, N, m].

    Args:
        z: [K, N, m], or [1, N, m] for all.
        entries: [K, n].
        places: of the entries in their matrix, row by row, [K, n].
    """
    (count, _), m = entries.shape, z.shape[-1]
    columns = z.mT.reshape(-1, z.shape[1])  # in which what is gathered lies side by side
    first = m * torch.arange(count, device=places.device)[:, None]
    taken, given = places % m + (first if len(z) > 1 else 0), places // m + first
    picked = columns.index_select(0, taken.flatten()) * entries.reshape(-1, 1)
    y = picked.new_zeros(count * m, z.shape[1]).index_add(0, given.flatten(), picked)
    return y.view(count, m, -1).mT


def _places(
    pattern: Pattern, of: Decomposition, entries: int, generator: torch.Generator | None
) -> Tensor:
    """Return the places of single entries in M, row by row, ascending."""
    m = len(of.S)
    if of.S.is_meta:
        return torch.empty(entries, dtype=torch.int64, device="meta")
    if pattern == "random":
        places = torch.randperm(m * m, generator=generator)[:entries]
        return places.sort().values.to(of.S.device)
    if len(of.U) == of.Vh.shape[1]:
        scores = of.U.mT @ of.Vh.mT
    else:
        scores = of.U if len(of.U) == m else of.Vh
    # A stable order, so that ties are broken alike everywhere.
    best = scores.abs().flatten().sort(descending=True, stable=True).indices
    return best[:entries].sort().values
