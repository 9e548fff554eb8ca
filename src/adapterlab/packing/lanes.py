"""Where the lanes of a pack are inside its tensors."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.packing.known_rows import FirstLinear
from adapterlab.packing.products import lane_product


class Lanes:
    """Which rows of a pack's tensors belong to which lane.

    Rows of all lanes follow each other in the first dimension, ``[K·B, ...]`` for K lanes and
    batches of B rows, so that a frozen module meets an ordinary, larger batch. Up to the first
    layer in which lanes differ, those that read the same rows share them: a tensor then has
    ``[G·B, ...]`` rows for G streams of data.

    Args:
        streams: the stream of data that each lane reads while training, whatever names it; lanes
            of equal ones read the same rows.

    Attributes:
        read: the stream that each lane reads while training, numbered from 0 in the order in which
            the lanes name them. Quickest is an ascending one.
        start: the number of the first lane in its pack.
    """

    def __init__(self, streams: Sequence[Hashable]) -> None:
        self.read = _numbered(streams)
        self.start = 0
        self._batch = _Batch()

    @property
    def rows(self) -> int:
        """B of the batch that is being computed."""
        return self._batch.rows

    @property
    def all(self) -> slice:
        """Where these lanes are among those of the pack."""
        return slice(self.start, self.start + self.count)

    @property
    def count(self) -> int:
        """K, how many lanes there are."""
        return len(self.read)

    @property
    def streams(self) -> list[int]:
        """The stream that each lane reads in this batch."""
        return [0] * self.count if self._batch.together else self.read

    @property
    def stream_count(self) -> int:
        """G, how many streams of data there are in this batch."""
        return 1 if self._batch.together else max(self.read) + 1

    def begin(self, rows: int, *, together: bool, known: FirstLinear | None = None) -> None:
        """Start a batch.

        Args:
            rows: B.
            together: all lanes read the same rows, whatever they do while training.
            known: of whose rows products with frozen matrices need not be computed.
        """
        self._batch.rows, self._batch.together, self._batch.known = rows, together, known

    def rows_of(self, x: Tensor) -> Tensor:
        """Return what these lanes read of the rows of all."""
        return x

    def frozen_linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return W x + b of a frozen matrix; it may be known where x is the model's input."""
        known = self._batch.known
        if known is None:
            return F.linear(x, weight, bias)
        return known.linear(x, weight, bias, self.rows_of)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        self.read = _numbered([self.read[lane] for lane in lanes])

    def is_shared(self, x: Tensor) -> bool:
        """Say whether the rows of x are those of streams, not yet of lanes."""
        return x.shape[0] != self.count * self.rows

    def split(self, x: Tensor) -> Tensor:
        """View rows as ``[K, B, ...]``, or ``[G, B, ...]`` while they are shared."""
        return x.view(-1, self.rows, *x.shape[1:])

    def expand(self, x: Tensor) -> Tensor:
        """Give every lane rows of its own, ``[G·B, ...]`` to ``[K·B, ...]``."""
        return self._per_lane(self.split(x)).flatten(0, 1) if self.is_shared(x) else x

    def of_base(self, base: nn.Module, x: Tensor) -> Tensor:
        """Return what a layer makes of rows; it may be known, as above."""
        if type(base) is nn.Linear:
            return self.frozen_linear(x, base.weight, base.bias)
        return cast(Tensor, base(x))

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """Multiply the rows of each lane with a matrix of its own.

        Args:
            x: ``[K·B, ..., d_in]``, or shared.
            weight: ``[K, d_out, d_in]``.

        Returns:
            ``[K, B·..., d_out]``.
        """
        if not self.is_shared(x):
            return lane_product(x.reshape(self.count, -1, x.shape[-1]), weight)
        per_stream = self._lanes_per_stream()
        streams = self.stream_count
        flat = x.reshape(streams, -1, x.shape[-1])
        if streams == 1:
            # One product with all matrices below each other; the lanes are its columns.
            y = F.linear(flat[0], weight.flatten(0, 1))
            return y.view(-1, self.count, weight.shape[1]).transpose(0, 1)
        if per_stream is None:
            return lane_product(flat[self.streams], weight)
        y = flat @ weight.view(streams, -1, x.shape[-1]).mT
        y = y.view(streams, -1, per_stream, weight.shape[1])
        return y.transpose(1, 2).flatten(0, 1)

    def linear_joined(
        self, x: Tensor, weight: Tensor, shapes: Sequence[torch.Size]
    ) -> Tensor | None:
        """Multiply shared rows with the matrices of all lanes, one below the other.

        Args:
            x: ``[K·B, ..., d_in]``, or shared.
            weight: ``[r_1 + ... + r_K, d_in]``.
            shapes: of the lanes' matrices, ``[r_k, d_in]``.

        Returns:
            ``[r_1 + ... + r_K, B·...]``; None if rows are not shared, or shared unequally.
        """
        if not self.is_shared(x):
            return None
        if self.stream_count == 1:
            return F.linear(weight, x.reshape(-1, x.shape[-1]))
        of_streams = [0] * self.stream_count
        for stream, shape in zip(self.streams, shapes, strict=True):
            of_streams[stream] += shape[0]
        if len(set(of_streams)) > 1 or self.streams != sorted(self.streams):
            return None
        flat = x.reshape(self.stream_count, -1, x.shape[-1])
        return (weight.view(self.stream_count, -1, weight.shape[-1]) @ flat.mT).flatten(0, 1)

    def join(self, y: Tensor, x: Tensor) -> Tensor:
        """Return ``[K, B·..., d]`` as rows ``[K·B, ..., d]``, laid out as x."""
        return y.reshape(self.count * self.rows, *x.shape[1:-1], y.shape[-1])

    def flat(self, y: Tensor) -> Tensor:
        """View rows as ``[K, B·..., d]``, for adding to what :meth:`linear` returns.

        Shared rows of one stream give ``[1, B·..., d]``, which broadcasts.
        """
        y = self.split(y).flatten(1, -2)
        return y if y.shape[0] in (1, self.count) else self._per_lane(y)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Add rows, ``[K·B, ..., d]`` or shared, to ``[K, B·..., d]``.

        Shared rows are read where they are: to give every lane its own takes longer than to add.
        """
        rows, y = self._aligned(x, y)
        return self._of_lanes(rows + y)

    def scaled(self, x: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
        """Return scale_k · x + bias, ``[K, B·..., d]``, of rows that are each lane's or shared.

        Args:
            x: ``[K·B, ..., d]``, or shared.
            scale: ``[K, 1, d]``.
            bias: ``[d]``.
        """
        rows, scale = self._aligned(x, scale)
        y = scale * rows if bias is None else torch.addcmul(bias, scale, rows)
        return self._of_lanes(y)

    def _of_lanes(self, y: Tensor) -> Tensor:
        # No view where there is nothing to change: autograd copies what is written to through one.
        return y if y.ndim == 3 else y.flatten(0, 1)

    def _aligned(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """View rows and ``[K, ...]`` so that they broadcast, without rows for each lane."""
        per_stream = self._lanes_per_stream()
        if not self.is_shared(x) or self.stream_count == 1 or per_stream is None:
            return self.flat(x), y
        rows = self.split(x).flatten(1, -2)[:, None]
        return rows, y.view(-1, per_stream, *y.shape[1:])

    def _per_lane(self, x: Tensor) -> Tensor:
        """``[G, ...]`` to ``[K, ...]``."""
        if x.shape[0] == 1:
            return x.expand(self.count, *x.shape[1:])
        return x[torch.tensor(self.streams, device=x.device)]

    def _lanes_per_stream(self) -> int | None:
        """Return how many lanes read each stream; None if not as many do, or not side by side."""
        sizes = [len(list(group)) for _, group in groupby(self.streams)]
        return sizes[0] if len(set(sizes)) == 1 and len(sizes) == self.stream_count else None


class LanesPart(Lanes):
    """Adjacent lanes of a pack that are computed apart from the others at some places.

    Args:
        whole: the lanes of the pack.
        of: which of them.
    """

    def __init__(self, whole: Lanes, of: slice) -> None:
        super().__init__(whole.read[of])
        self.whole, self.start, self._batch = whole, of.start, whole._batch

    def rows_of(self, x: Tensor) -> Tensor:
        """Return what these lanes read of the rows of all: their own, or those of their streams."""
        if not self.whole.is_shared(x):
            return x[self.start * self.rows : self.all.stop * self.rows]
        streams = list(dict.fromkeys(self.whole.streams[self.all]))
        if streams == list(range(self.whole.stream_count)):
            return x
        own = self.whole.split(x)[streams].flatten(0, 1)
        if self._batch.known is not None:
            self._batch.known.inputs.add(x, own)
        return own


@dataclass
class _Batch:
    """What is being computed: rows of each lane, whether all lanes read the same, what is known."""

    rows: int = 0
    together: bool = False
    known: FirstLinear | None = None


def _numbered(streams: Sequence[Hashable]) -> list[int]:
    numbers = {stream: number for number, stream in enumerate(dict.fromkeys(streams))}
    return [numbers[stream] for stream in streams]
