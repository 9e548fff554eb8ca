"""Modules that tests copy often."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn


class Original:
    """A module to be copied often: all but its tensors is pickled, which copies five times as fast.

    Args:
        module: must not be changed any more.
    """

    def __init__(self, module: nn.Module) -> None:
        self._tensors: dict[int, Tensor] = {}
        file = BytesIO()
        _Pickler(file, self._tensors).dump(module)
        self._pickled = file.getvalue()

    def copy(self) -> Any:
        """Return one that shares no tensor with it; what two of its layers share, they share."""
        return _Unpickler(BytesIO(self._pickled), self._tensors).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: BytesIO, tensors: dict[int, Tensor]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._tensors = tensors

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Tensor):
            return None
        self._tensors[id(obj)] = obj
        return id(obj)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO, tensors: dict[int, Tensor]) -> None:
        super().__init__(file)
        self._tensors = tensors
        self._made: dict[int, Tensor] = {}

    def persistent_load(self, pid: int) -> Tensor:
        if pid not in self._made:
            tensor = self._tensors[pid]
            made = tensor.detach().clone()
            if isinstance(tensor, nn.Parameter):
                made = nn.Parameter(made, tensor.requires_grad)
            self._made[pid] = made
        return self._made[pid]


@contextmanager
def drawn_in_float32() -> Iterator[None]:
    """Let weights be those of one seed also where a test has set another default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
