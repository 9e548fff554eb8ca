"""Partial fine-tuning: the last layers of the body are trained, the first stay frozen."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from adapterlab.adapters.strategy import Strategy
from adapterlab.base.errors import ConfigError
from adapterlab.models.protocol import adaptable, counted_layers


@dataclass(frozen=True, kw_only=True)
class LastLayers(Strategy):
    """Train the last n layers before the head (Yosinski et al. 2014, arXiv:1411.1792).

    Args:
        n: layers to train, counted back from the head, which `head` speaks for.
        head: `train` or `freeze`.
    """

    dial: ClassVar[str | None] = "n"

    n: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise ConfigError(f"adapter.n={self.n} must be 1 or more; adapter=head trains none")

    def most(self, model: nn.Module) -> int:
        """Return how many blocks there are."""
        return len(adaptable(model).blocks)

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Unfreeze the last n blocks."""
        blocks = adaptable(model).blocks
        if self.n > len(blocks):
            raise ConfigError(
                f"adapter.n={self.n} is more than the {counted_layers(model)} before the head; "
                f"layers: {', '.join(blocks)}"
            )
        for name in blocks[-self.n :]:
            model.get_submodule(name).requires_grad_(True)
