"""Products of frozen matrices with the rows that a model is given: looked up, not computed again.

The first layer of a chain is given the same rows in every epoch, whatever has been trained, and
they differ between lanes by their order alone. What its frozen matrices make of a row is then a
matter of one product over the data set. Every product that asks for it is a `Lanes.frozen_linear`.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_BYTES = 2**29
"""That all products of a pack may take."""

RowsOf = Callable[[Tensor], Tensor]
"""Takes what lies of a tensor of all rows where these lanes read."""

Key = tuple[int, torch.Size, tuple[int, ...], int | None]
"""What tells frozen matrices apart: where weight and bias lie, and how."""


class FrozenProduct(NamedTuple):
    """A frozen matrix that a model's own rows are multiplied with, and how it sees a row."""

    weight: Tensor
    bias: Tensor | None
    row: torch.Size

    def of(self, rows: Tensor) -> Tensor:
        """Return the product with rows of a split as the model is given them."""
        return F.linear(rows.reshape(len(rows), *self.row), self.weight, self.bias)


def key_of(weight: Tensor, bias: Tensor | None) -> Key:
    """Return what tells a frozen matrix apart."""
    place = weight.data_ptr(), weight.shape, weight.stride()
    return *place, None if bias is None else bias.data_ptr()


class Inputs:
    """The rows that a model is given in this batch, and whatever is the same numbers."""

    def __init__(self, inputs: Tensor) -> None:
        self._same = [inputs]

    def add(self, rows: Tensor, copy: Tensor) -> None:
        """Take note of a copy of some of the rows."""
        if copy is not rows and self.are(rows):
            self._same.append(copy)

    def are(self, x: Tensor) -> bool:
        """Say whether x is nothing but these rows, or some of them."""
        place = x.untyped_storage().data_ptr()
        return any(place == same.untyped_storage().data_ptr() for same in self._same)


class FirstLinear(Protocol):
    """What stands in for products with frozen matrices while a batch is computed."""

    inputs: Inputs

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, rows_of: RowsOf) -> Tensor:
        """Return W x + b."""


class Noting:
    """Computes every product, and takes note of those with the model's own rows."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = Inputs(inputs)
        self.found: dict[Key, FrozenProduct] = {}

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, rows_of: RowsOf) -> Tensor:
        """Return W x + b."""
        frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
        if frozen and not x.requires_grad and self.inputs.are(x):
            product = FrozenProduct(weight, bias, x.shape[1:])
            self.found.setdefault(key_of(weight, bias), product)
        return F.linear(x, weight, bias)


class KnownRows:
    """Looks products up that were computed for all rows of a split.

    Args:
        tables: of each frozen matrix what it makes of every row, ``[N, d_out]``.
        inputs: what the model is given in this batch; not looked at where a product is known.
        rows: which rows of the split these are, int64.
    """

    def __init__(self, tables: dict[Key, Tensor], inputs: Tensor, rows: Tensor) -> None:
        self.tables, self.inputs, self.rows = tables, Inputs(inputs), rows

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, rows_of: RowsOf) -> Tensor:
        """Return W x + b."""
        table = self.tables.get(key_of(weight, bias)) if self.inputs.are(x) else None
        rows = rows_of(self.rows)
        if table is None or len(rows) != len(x):
            return F.linear(x, weight, bias)
        return self.looked_up(table, x, weight, bias, rows)

    def looked_up(
        self, table: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor
    ) -> Tensor:
        """Return what is known of some rows."""
        return table.index_select(0, rows)


class Comparing(KnownRows):
    """Computes every product, and compares it with what is known, bit by bit.

    Attributes:
        same: whether all have been the same so far.
    """

    same = True

    def looked_up(
        self, table: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor
    ) -> Tensor:
        """Return W x + b as it is computed."""
        computed = F.linear(x, weight, bias)
        known = super().looked_up(table, x, weight, bias, rows)
        self.same = self.same and torch.equal(computed, known)
        return computed
