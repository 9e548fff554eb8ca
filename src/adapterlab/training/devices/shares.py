"""Shares of a batch: which rows are whose, and draws that are those of the whole batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.base.errors import ConfigError
from adapterlab.packing.randomness import Draws
from adapterlab.packing.trial import take_rows
from adapterlab.training.outcome import LabelledBatch


class Share(NamedTuple):
    """The rows of a batch from `start` to before `stop`, of `rows` in all.

    Attributes:
        start, stop: rows that are computed.
        rows: of the whole batch.
        counts: whether they count: where a batch has fewer rows than there are devices, a device
            without one computes the first, which another counts.
    """

    start: int
    stop: int
    rows: int
    counts: bool = True


class SharedBatch(NamedTuple):
    """A device's share of a batch.

    Attributes:
        inputs: of its rows.
        labels: of its rows.
        all_labels: of the whole batch.
        share: which rows they are.
    """

    inputs: Any
    labels: Tensor
    all_labels: Tensor
    share: Share


def share_of(rows: int, rank: int, devices: int) -> Share:
    """Return which rows of a batch a device computes: as many as any other, to one."""
    start, stop = rows * rank // devices, rows * (rank + 1) // devices
    return Share(start, stop, rows) if stop > start else Share(0, 1, rows, counts=False)


def shared(batch: LabelledBatch, rank: int, devices: int) -> SharedBatch:
    """Return a device's share of a batch, which is as wide as the whole."""
    share = share_of(len(batch.labels), rank, devices)
    rows = slice(share.start, share.stop)
    return SharedBatch(take_rows(batch.inputs, rows), batch.labels[rows], batch.labels, share)


class SharedDraws(Draws):
    """Lets what draws for a share of a batch draw for the whole batch, and take its part.

    So every mask of dropout is the one that one device would have drawn, of adapters and of the
    model. What draws otherwise is left as it is: the trial finds it (`devices.trial`).

    Attributes:
        drew: whether anything has drawn in a share.
    """

    def __init__(self) -> None:
        super().__init__()
        self.drew = False
        self._share: Share | None = None

    @contextmanager
    def of(self, share: Share) -> Iterator[None]:
        """Compute a share inside of the block."""
        self._share = share
        try:
            with self:
                yield
        finally:
            self._share = None

    @contextmanager
    def of_adapters(self, model: nn.Module) -> Iterator[None]:
        """Let the dropouts of a model's adapters draw so, inside of the block."""
        dropouts = [module for module in model.modules() if isinstance(module, SeededDropout)]
        for dropout in dropouts:
            vars(dropout)["forward"] = partial(self._adapters, dropout)
        try:
            yield
        finally:
            for dropout in dropouts:
                vars(dropout).pop("forward", None)

    def _adapters(self, dropout: SeededDropout, x: Tensor) -> Tensor:
        draw = partial(SeededDropout.forward, dropout)
        return self._of_all(draw, x) if dropout.training and dropout.p else draw(x)

    def dropout(self, x: Tensor, p: float) -> Tensor:
        """Draw for the whole batch."""
        return self._of_all(lambda rows: F.dropout(rows, p, True), x)

    def attention(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> Tensor:
        """Draw for the whole batch."""
        share = self._share
        if share is None:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)
        self.drew = True
        if mask is not None and mask.dim() > 2 and mask.shape[0] == query.shape[0]:
            mask = _among_all(mask, share)
        q, k, v = (_among_all(tensor, share) for tensor in (query, key, value))
        drawn = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)
        return _own(drawn, share, query.shape[0])

    def _of_all(self, draw: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        share = self._share
        if share is None:
            return draw(x)
        self.drew = True
        if x.shape[0] == 1 < share.stop - share.start:
            return draw(x)  # one for all rows, as it would be for the whole batch
        return _own(draw(_among_all(x, share)), share, x.shape[0])


def _among_all(x: Tensor, share: Share) -> Tensor:
    """Put a share's part of a tensor where it is in the whole batch's, with nothing beside it.

    Draws fill memory in order, so the whole lies in it as the part does.
    """
    each, left = divmod(x.shape[0], share.stop - share.start)
    if left:
        raise ConfigError(
            f"the model draws for {list(x.shape)}, which are not the rows of a batch; it trains on "
            "hardware.devices=1 only"
        )
    strides = x.stride()
    order = sorted(range(x.dim()), key=lambda dimension: -strides[dimension])
    shape = [share.rows * each, *x.shape[1:]]
    # Where nothing may be looked at, attention would have no number.
    make = torch.ones if x.dtype == torch.bool else torch.zeros
    laid = make([shape[dimension] for dimension in order], dtype=x.dtype, device=x.device)
    whole = laid.permute([order.index(dimension) for dimension in range(x.dim())])
    whole[share.start * each : share.stop * each] = x
    return whole


def _own(whole: Tensor, share: Share, size: int) -> Tensor:
    each = size // (share.stop - share.start)
    return whole[share.start * each : share.stop * each]
