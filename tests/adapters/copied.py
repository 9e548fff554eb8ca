"""Modules that tests copy often."""

import pickle
from io import BytesIO
from typing import Any

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
