"""Dropout of adapters, whose masks hang on a seed of each layer alone."""

from typing import Any

import torch
from torch import Tensor, nn


class SeededDropout(nn.Module):
    """Dropout that draws from a generator of its own.

    A layer's mask then depends on its own seed only, not on what else in the process draws random
    numbers; training anew, resuming, and training beside other runs give the same masks.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._seed = 0
        self._generator: torch.Generator | None = None

    def reseed(self, seed: int) -> None:
        """Start the stream of masks anew from `seed`."""
        self._seed, self._generator = seed, None

    def forward(self, x: Tensor) -> Tensor:
        """Zero each element with probability p and rescale the rest by 1/(1-p); shape kept."""
        if not self.training or self.p == 0.0:
            return x
        # Draws fill memory in order, and the layout of x may be another one in a pack.
        keep = torch.empty_like(x, memory_format=torch.contiguous_format)
        keep.bernoulli_(1.0 - self.p, generator=self._stream(x.device))
        return x * keep / (1.0 - self.p)

    def uniform(self, like: Tensor) -> Tensor:
        """Draw numbers from 0 to 1, of a tensor's shape, type and device, from the same stream."""
        drawn = torch.empty_like(like, memory_format=torch.contiguous_format)
        return drawn.uniform_(generator=self._stream(like.device))

    def _stream(self, device: torch.device) -> torch.Generator:
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self._seed)
        return self._generator

    def place(self) -> Tensor | None:
        """Return where the stream is, for `go_to`; None at its start."""
        return None if self._generator is None else self._generator.get_state()

    def go_to(self, place: Tensor | None) -> None:
        """Draw on from a place of the stream."""
        if place is None or self._generator is None:
            self._generator = None
        else:
            self._generator.set_state(place)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the generator out, which cannot be copied: a copy starts from the seed."""
        return {**self.__dict__, "_generator": None}

    def extra_repr(self) -> str:
        """Show the probability where the module is printed."""
        return f"p={self.p}"
