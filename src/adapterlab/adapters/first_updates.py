"""First values of a low-rank update that come from the weight it updates.

Such an update is not zero at the start. A frozen copy of it is subtracted, so that the layer starts
as the base, and the base's weights stay as they are for every lane, rank and scale:

    y = W x + b + s · (B A - B0 A0) x
"""

import torch
from torch import Tensor

from adapterlab.adapters.decomposition import decompose
from adapterlab.adapters.factors import Init

FROM_WEIGHT: tuple[Init, ...] = ("pissa", "milora", "olora")
"""Those that are made here."""


@torch.no_grad()
def from_weight(init: Init, W: Tensor, scale: float, A: Tensor, B: Tensor) -> None:
    """Fill A and B, in place, with first values that come from W = U diag(S) Vᵀ = Q R.

    | init | s · B A is | from |
    | --- | --- | --- |
    | `pissa` | the leading `rank` triples, √(S/s) in either factor | Meng et al. 2024, 2404.02948 |
    | `milora` | the last ones, likewise | Wang et al. 2024, 2406.09044 |
    | `olora` | s times the first part of Q R: B = Q[:, :rank], A = R[:rank] | 2406.01775 |

    A rank above the smaller side of W has triples for as many rows only. The others keep what they
    have, such as LoRA's first values.

    Args:
        init: one of these.
        W: [d_out, d_in].
        scale: s.
        A: [rank, d_in].
        B: [d_out, rank].
    """
    there = min(len(A), *W.shape)
    if init == "olora":
        Q, R = _unique_qr(W)
        A[:there], B[:, :there] = R[:there], Q[:, :there]
        return
    found = decompose(W)
    chosen = slice(there) if init == "pissa" else slice(len(found.S) - there, None)
    root = (found.S[chosen] / scale).sqrt()
    A[:there], B[:, :there] = root[:, None] * found.Vh[chosen], found.U[:, chosen] * root


def _unique_qr(W: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q and R of which no entry on R's diagonal is negative, computed in float64."""
    Q, R = torch.linalg.qr(W.detach().to("cpu", torch.float64))
    signs = torch.where(R.diagonal() < 0, -1.0, 1.0)
    return (Q * signs).to(W), (R * signs[:, None]).to(W)
