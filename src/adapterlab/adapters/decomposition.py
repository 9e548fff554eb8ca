"""The singular value decomposition of a layer's weight, which several methods begin with."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from adapterlab.adapters.hashes import hash_tensors
from adapterlab.base.errors import ConfigError

KEPT_BYTES = 2**30
"""How much is kept of decompositions that were made: lanes over one base make each only once."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """W = U diag(S) V^T, with m = min(d_out, d_in) triples, the largest singular value first.

    Shared by all who ask for the same weight: not to be changed in place.

    Attributes:
        U: left singular vectors, [d_out, m], in columns.
        S: singular values, [m], descending.
        Vh: right singular vectors V^T, [m, d_in], in rows.
    """

    U: Tensor
    S: Tensor
    Vh: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of the three."""
        return sum(tensor.nbytes for tensor in (self.U, self.S, self.Vh))


_kept: OrderedDict[str, Decomposition] = OrderedDict()


@torch.no_grad()
def decompose(weight: Tensor) -> Decomposition:
    """Return the decomposition of a matrix, in its type and on its device.

    It is computed on the CPU in float64, and rounded. A triple is unique but for the sign of its
    two vectors: the entry of the left one that is largest in magnitude is made positive, as
    scikit-learn's `svd_flip` does. Vectors of equal singular values can be any basis of what they
    span; which one it is depends on the LAPACK that computes it.

    Args:
        weight: [d_out, d_in], such as `adapters.weights.matrix` gives; on the meta device nothing
            is computed.

    Raises:
        ConfigError: it is not finite.
    """
    d_out, d_in = weight.shape
    if weight.is_meta:
        m = min(d_out, d_in)
        return Decomposition(*(weight.new_empty(size) for size in ((d_out, m), (m,), (m, d_in))))
    key = hash_tensors({"weight": weight})
    found = _kept.pop(key, None)
    if found is None:
        found = _decomposed(weight)
    _kept[key] = found  # at the end: what was not asked for the longest is forgotten first
    while len(_kept) > 1 and sum(one.nbytes for one in _kept.values()) > KEPT_BYTES:
        _kept.popitem(last=False)
    if weight.device.type == "cpu":
        return found
    return Decomposition(*(t.to(weight.device) for t in (found.U, found.S, found.Vh)))


def _decomposed(weight: Tensor) -> Decomposition:
    own = weight.detach().to("cpu", torch.float64)
    if not own.isfinite().all():
        raise ConfigError(
            "the base has a weight that is not finite, so that it has no singular values; methods "
            "that begin with them need a base that is whole"
        )
    U, S, Vh = torch.linalg.svd(own, full_matrices=False)
    signs = U.gather(0, U.abs().argmax(0, keepdim=True)).sign()
    signs = torch.where(signs == 0, 1.0, signs)
    return Decomposition(*(t.contiguous().to(weight.dtype) for t in (U * signs, S, Vh * signs.mT)))
